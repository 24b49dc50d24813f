//! A column's value as JSON, from the server's binary form.
//!
//! One idea: the JSON is what Dapr's binding writes, down to a UUID as sixteen numbers; a type that it has no form for is
//! named and not guessed. Must never panic on what a server sends.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sqlx::TypeInfo as _;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgTypeInfo, PgTypeKind};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, macros::datetime};

use super::numeric;

/// Numbers of PostgreSQL's own types.
pub(super) mod oid {
    pub(in crate::postgresql) const BOOL: u32 = 16;
    pub(in crate::postgresql) const BYTEA: u32 = 17;
    pub(in crate::postgresql) const CHAR: u32 = 18;
    pub(in crate::postgresql) const NAME: u32 = 19;
    pub(in crate::postgresql) const INT8: u32 = 20;
    pub(in crate::postgresql) const INT2: u32 = 21;
    pub(in crate::postgresql) const INT4: u32 = 23;
    pub(in crate::postgresql) const TEXT: u32 = 25;
    pub(in crate::postgresql) const OID: u32 = 26;
    pub(in crate::postgresql) const JSON: u32 = 114;
    pub(in crate::postgresql) const XML: u32 = 142;
    pub(in crate::postgresql) const CIDR: u32 = 650;
    pub(in crate::postgresql) const FLOAT4: u32 = 700;
    pub(in crate::postgresql) const FLOAT8: u32 = 701;
    pub(in crate::postgresql) const UNKNOWN: u32 = 705;
    pub(in crate::postgresql) const INET: u32 = 869;
    pub(in crate::postgresql) const BPCHAR: u32 = 1042;
    pub(in crate::postgresql) const VARCHAR: u32 = 1043;
    pub(in crate::postgresql) const DATE: u32 = 1082;
    pub(in crate::postgresql) const TIME: u32 = 1083;
    pub(in crate::postgresql) const TIMESTAMP: u32 = 1114;
    pub(in crate::postgresql) const TIMESTAMPTZ: u32 = 1184;
    pub(in crate::postgresql) const INTERVAL: u32 = 1186;
    pub(in crate::postgresql) const NUMERIC: u32 = 1700;
    pub(in crate::postgresql) const VOID: u32 = 2278;
    pub(in crate::postgresql) const UUID: u32 = 2950;
    pub(in crate::postgresql) const JSONB: u32 = 3802;

    /// Whether the binary form is the text.
    pub(in crate::postgresql) fn is_text(number: u32) -> bool {
        matches!(number, TEXT | VARCHAR | BPCHAR | NAME | UNKNOWN | XML | VOID)
    }
}

/// Why there is no JSON.
#[derive(Debug, PartialEq)]
pub(super) enum Unreadable {
    /// Of such a type.
    Kind(String),
    /// It is not in the form of its type, or JSON has no such value.
    Value,
}

/// Arrays inside arrays.
const DEEPEST: usize = 6;

/// Writes a value; `None` = null.
pub(super) fn write(text: &mut String, kind: &PgTypeInfo, bytes: Option<&[u8]>) -> Result<(), Unreadable> {
    let Some(bytes) = bytes else {
        text.push_str("null");
        return Ok(());
    };
    let number = kind.oid().map_or(0, |Oid(number)| number);
    match number {
        oid::BOOL => text.push_str(if whole::<1>(bytes)? == [1] { "true" } else { "false" }),
        oid::INT2 => put(text, i16::from_be_bytes(whole(bytes)?)),
        oid::INT4 => put(text, i32::from_be_bytes(whole(bytes)?)),
        oid::INT8 => put(text, i64::from_be_bytes(whole(bytes)?)),
        oid::OID => put(text, u32::from_be_bytes(whole(bytes)?)),
        oid::CHAR => put(text, whole::<1>(bytes)?[0]),
        oid::FLOAT4 => {
            let count = f32::from_be_bytes(whole(bytes)?);
            float(text, count.is_finite(), count)?;
        }
        oid::FLOAT8 => {
            let count = f64::from_be_bytes(whole(bytes)?);
            float(text, count.is_finite(), count)?;
        }
        oid::NUMERIC => text.push_str(&numeric::read(bytes).ok_or(Unreadable::Value)?),
        oid::BYTEA => quote(text, &STANDARD.encode(bytes)),
        oid::JSON => json(text, bytes)?,
        oid::JSONB => json(text, bytes.strip_prefix(b"\x01").ok_or(Unreadable::Value)?)?,
        oid::UUID => {
            let numbers: Vec<String> = whole::<16>(bytes)?.iter().map(u8::to_string).collect();
            let _ = write!(text, "[{}]", numbers.join(","));
        }
        oid::TIMESTAMP | oid::TIMESTAMPTZ => moment(text, i64::from_be_bytes(whole(bytes)?))?,
        oid::DATE => day(text, i32::from_be_bytes(whole(bytes)?))?,
        oid::TIME => {
            let micros = i64::from_be_bytes(whole(bytes)?);
            let _ = write!(text, "{{\"Microseconds\":{micros},\"Valid\":true}}");
        }
        oid::INTERVAL => {
            let (micros, rest) = bytes.split_at_checked(8).ok_or(Unreadable::Value)?;
            let (days, months) = rest.split_at_checked(4).ok_or(Unreadable::Value)?;
            let (micros, days) = (i64::from_be_bytes(whole(micros)?), i32::from_be_bytes(whole(days)?));
            let months = i32::from_be_bytes(whole(months)?);
            let _ = write!(
                text,
                "{{\"Microseconds\":{micros},\"Days\":{days},\"Months\":{months},\"Valid\":true}}"
            );
        }
        oid::INET | oid::CIDR => quote(text, &network(bytes).ok_or(Unreadable::Value)?),
        number if oid::is_text(number) => quote(text, utf8(bytes)?),
        _ => match kind.kind() {
            PgTypeKind::Domain(base) => write(text, base, Some(bytes))?,
            PgTypeKind::Enum(_) => quote(text, utf8(bytes)?),
            PgTypeKind::Array(item) => array(text, item, bytes)?,
            _ if kind.name().eq_ignore_ascii_case("citext") => quote(text, utf8(bytes)?),
            _ => return Err(Unreadable::Kind(kind.name().to_owned())),
        },
    }
    Ok(())
}

fn whole<const LENGTH: usize>(bytes: &[u8]) -> Result<[u8; LENGTH], Unreadable> {
    bytes.try_into().map_err(|_| Unreadable::Value)
}

fn utf8(bytes: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(bytes).map_err(|_| Unreadable::Value)
}

fn put(text: &mut String, number: impl std::fmt::Display) {
    let _ = write!(text, "{number}");
}

fn quote(text: &mut String, value: &str) {
    text.push_str(&Value::from(value).to_string());
}

fn json(text: &mut String, bytes: &[u8]) -> Result<(), Unreadable> {
    text.push_str(utf8(bytes)?);
    Ok(())
}

/// JSON has neither infinity nor what is no number.
fn float(text: &mut String, is_finite: bool, count: impl std::fmt::Display) -> Result<(), Unreadable> {
    if !is_finite {
        return Err(Unreadable::Value);
    }
    put(text, count);
    Ok(())
}

/// Microseconds since 2000. Both ends of time are what Go's library makes of them.
fn moment(text: &mut String, micros: i64) -> Result<(), Unreadable> {
    match micros {
        i64::MAX => text.push('1'),
        i64::MIN => text.push_str("-1"),
        micros => {
            let moment = datetime!(2000-01-01 0:00 UTC).checked_add(Duration::microseconds(micros));
            instant(text, moment)?;
        }
    }
    Ok(())
}

/// Days since 2000.
fn day(text: &mut String, days: i32) -> Result<(), Unreadable> {
    match days {
        i32::MAX => text.push('1'),
        i32::MIN => text.push_str("-1"),
        days => instant(
            text,
            datetime!(2000-01-01 0:00 UTC).checked_add(Duration::days(days.into())),
        )?,
    }
    Ok(())
}

fn instant(text: &mut String, moment: Option<OffsetDateTime>) -> Result<(), Unreadable> {
    let written = moment.and_then(|moment| moment.format(&Rfc3339).ok());
    quote(text, &written.ok_or(Unreadable::Value)?);
    Ok(())
}

/// Family, bits, whether it is a network, length, address.
fn network(bytes: &[u8]) -> Option<String> {
    let [family, bits, _, length, address @ ..] = bytes else {
        return None;
    };
    if address.len() != usize::from(*length) {
        return None;
    }
    let address = match family {
        2 => std::net::IpAddr::from(<[u8; 4]>::try_from(address).ok()?),
        3 => std::net::IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
        _ => return None,
    };
    Some(format!("{address}/{bits}"))
}

/// Dimensions, whether there are nulls, the type; of each dimension its length and first index; then the items.
fn array(text: &mut String, kind: &PgTypeInfo, bytes: &[u8]) -> Result<(), Unreadable> {
    let mut rest = bytes;
    let dimensions = usize::try_from(take_i32(&mut rest)?).map_err(|_| Unreadable::Value)?;
    take_i32(&mut rest)?;
    take_i32(&mut rest)?;
    if dimensions > DEEPEST {
        return Err(Unreadable::Value);
    }
    let mut lengths = Vec::with_capacity(dimensions);
    for _ in 0..dimensions {
        lengths.push(take_i32(&mut rest)?);
        take_i32(&mut rest)?;
    }
    if lengths.is_empty() {
        text.push_str("[]");
        return Ok(());
    }
    items(text, kind, &lengths, &mut rest)
}

fn items(text: &mut String, kind: &PgTypeInfo, lengths: &[i32], rest: &mut &[u8]) -> Result<(), Unreadable> {
    let Some((length, inner)) = lengths.split_first() else {
        let length = take_i32(rest)?;
        let Ok(length) = usize::try_from(length) else {
            return write(text, kind, None);
        };
        let (item, behind) = rest.split_at_checked(length).ok_or(Unreadable::Value)?;
        *rest = behind;
        return write(text, kind, Some(item));
    };
    // Nothing is in such an array, and the other lengths are a server's word.
    if *length < 1 || inner.iter().any(|length| *length < 1) || text.len() > super::run::LONGEST {
        return Err(Unreadable::Value);
    }
    text.push('[');
    for place in 0..*length {
        if place > 0 {
            text.push(',');
        }
        items(text, kind, inner, rest)?;
    }
    text.push(']');
    Ok(())
}

fn take_i32(rest: &mut &[u8]) -> Result<i32, Unreadable> {
    let (number, behind) = rest.split_at_checked(4).ok_or(Unreadable::Value)?;
    *rest = behind;
    Ok(i32::from_be_bytes(whole(number)?))
}
