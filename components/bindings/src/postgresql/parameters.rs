//! Values of a call in the forms of a statement's parameters.
//!
//! One idea: what JSON can say in the parameter's own form goes there as it is; everything else is a text that the server
//! itself reads, by the same rules as a literal. Must never guess at a form of the server's.

use palladium_component::CallError;
use serde_json::Value;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, PgTypeKind};
use sqlx::{Encode, Postgres, Type};

use super::value::oid;

/// One parameter.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) kind: PgTypeInfo,
    pub(super) said: Said,
}

#[derive(Debug, PartialEq)]
pub(super) enum Said {
    Null,
    /// In the server's binary form.
    Bytes(Vec<u8>),
    /// To be read by the server first.
    Text(String),
}

/// The forms of all parameters.
pub(super) fn forms(kinds: &[PgTypeInfo], values: &[Value]) -> Result<Vec<Form>, CallError> {
    kinds
        .iter()
        .zip(values)
        .map(|(kind, value)| form(kind, value))
        .collect()
}

fn form(kind: &PgTypeInfo, value: &Value) -> Result<Form, CallError> {
    let number = kind.oid().map_or(0, |Oid(number)| number);
    let said = match (number, value) {
        (oid::JSON, value) => Said::Bytes(json(value).into_bytes()),
        (oid::JSONB, value) => Said::Bytes([b"\x01", json(value).as_bytes()].concat()),
        (_, Value::Null) => Said::Null,
        (oid::BOOL, Value::Bool(truth)) => Said::Bytes(vec![u8::from(*truth)]),
        (oid::INT2 | oid::INT4 | oid::INT8, Value::Number(_)) => integer(number, value)?,
        (oid::FLOAT4, Value::Number(count)) => {
            #[expect(clippy::cast_possible_truncation, reason = "the column holds no more")]
            let count = count.as_f64().unwrap_or(f64::NAN) as f32;
            Said::Bytes(count.to_be_bytes().to_vec())
        }
        (oid::FLOAT8, Value::Number(count)) => Said::Bytes(count.as_f64().unwrap_or(f64::NAN).to_be_bytes().to_vec()),
        (number, value) => {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Array(items) if matches!(kind.kind(), PgTypeKind::Array(_)) => array(items),
                value => value.to_string(),
            };
            match oid::is_text(number) {
                true => Said::Bytes(text.into_bytes()),
                false => Said::Text(text),
            }
        }
    };
    Ok(Form {
        kind: kind.clone(),
        said,
    })
}

/// A text is JSON already, as in Dapr; everything else becomes it.
fn json(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn integer(kind: u32, value: &Value) -> Result<Said, CallError> {
    let whole = value.as_i64().or_else(|| {
        let count = value
            .as_f64()
            .filter(|count| count.fract() == 0.0 && count.abs() < 9e15)?;
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and small enough")]
        let count = count as i64;
        Some(count)
    });
    let bytes = whole.and_then(|count| match kind {
        oid::INT2 => i16::try_from(count).ok().map(|count| count.to_be_bytes().to_vec()),
        oid::INT4 => i32::try_from(count).ok().map(|count| count.to_be_bytes().to_vec()),
        _ => Some(count.to_be_bytes().to_vec()),
    });
    let refused =
        || CallError::Invalid("a number in params does not fit into the integer that the statement takes".into());
    bytes.map(Said::Bytes).ok_or_else(refused)
}

/// `{1,"a \"b\"",NULL,{…}}`.
fn array(items: &[Value]) -> String {
    let item = |item: &Value| match item {
        Value::Null => "NULL".to_owned(),
        Value::Array(items) => array(items),
        other => {
            let text = json(other).replace('\\', r"\\").replace('"', r#"\""#);
            format!("\"{text}\"")
        }
    };
    let items: Vec<String> = items.iter().map(item).collect();
    format!("{{{}}}", items.join(","))
}

impl Type<Postgres> for Form {
    /// Not asked for: every form [`Encode::produces`] its own.
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Form {
    fn produces(&self) -> Option<PgTypeInfo> {
        Some(self.kind.clone())
    }

    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match &self.said {
            Said::Null => Ok(IsNull::Yes),
            Said::Bytes(bytes) => {
                buffer.extend_from_slice(bytes);
                Ok(IsNull::No)
            }
            Said::Text(_) => Err("invariant: the server has read all texts".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(kind: u32, value: &Value) -> Result<Said, CallError> {
        form(&PgTypeInfo::with_oid(Oid(kind)), value).map(|form| form.said)
    }

    #[test]
    fn what_json_can_say_goes_as_it_is() {
        for (kind, value, bytes) in [
            (oid::INT4, json!(5), &[0, 0, 0, 5][..]),
            (oid::INT2, json!(-1.0), &[255, 255]),
            (oid::BOOL, json!(true), &[1]),
            (oid::TEXT, json!("ä"), "ä".as_bytes()),
            (oid::TEXT, json!(5), b"5"),
            (oid::JSON, json!({"a": 1}), br#"{"a":1}"#),
            (oid::JSONB, json!("[1]"), b"\x01[1]"),
            (oid::JSON, json!(null), b"null"),
            (oid::FLOAT8, json!(1), &[63, 240, 0, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(
                said(kind, &value).unwrap(),
                Said::Bytes(bytes.to_vec()),
                "{kind} {value}"
            );
        }
        assert_eq!(said(oid::INT4, &json!(null)).unwrap(), Said::Null);
        for (kind, value) in [
            (oid::INT2, json!(40000)),
            (oid::INT4, json!(1.5)),
            (oid::INT8, json!(1e30)),
        ] {
            assert!(said(kind, &value).is_err(), "{kind} {value}");
        }
    }

    #[test]
    fn everything_else_is_read_by_the_server() {
        let text = |text: &str| Said::Text(text.to_owned());
        assert_eq!(
            said(oid::TIMESTAMPTZ, &json!("2020-01-02T03:04:05Z")).unwrap(),
            text("2020-01-02T03:04:05Z")
        );
        assert_eq!(said(oid::NUMERIC, &json!(1.25)).unwrap(), text("1.25"));
        assert_eq!(said(oid::INT4, &json!("7")).unwrap(), text("7"));
        assert_eq!(
            array(&[json!(1), json!("a\"\\"), json!(null), json!([true])]),
            r#"{"1","a\"\\",NULL,{"true"}}"#
        );
    }
}
