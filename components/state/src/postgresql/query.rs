//! Dapr's query API (alpha) over `jsonb`, which only version 1 has.
//!
//! One idea: a filter becomes a condition over the text at a path of the value, compared as text, as Dapr's driver does it.
//! Must never put anything of a query into the text of a statement: paths and values are bound; nor hold more of what is
//! found than [`LARGEST`].

use futures_util::TryStreamExt as _;
use palladium_component::StateError;
use palladium_component::state::{QueryItem, QueryRequest, QueryResponse};
use serde_json::{Map, Value};
use sqlx::postgres::PgConnection;
use sqlx::{Postgres, QueryBuilder};

use super::table::Table;
use crate::sql::Failed;

/// Comparisons in one query: more would be more than PostgreSQL takes parameters.
const MOST_COMPARISONS: usize = 1000;
/// Conditions inside conditions.
const DEEPEST: usize = 32;
/// Bytes of one answer: keys, values, and [`BESIDE`] for each item.
const LARGEST: usize = 64 << 20;
/// What an item takes beside its key and value: etag, structures.
const BESIDE: usize = 256;

/// Runs a query.
pub(super) async fn run(
    table: &Table,
    connection: &mut PgConnection,
    request: &QueryRequest,
) -> Result<QueryResponse, Failed> {
    let skip = match request.token.as_str() {
        "" => 0,
        token => token
            .parse::<u32>()
            .map_err(|_| wrong("the token of the page is not one of this store"))?,
    };
    let mut statement = statement(table.select(), request)?;
    if skip > 0 {
        statement.push(" OFFSET ").push_bind(i64::from(skip));
    }
    let mut rows = statement.build().persistent(false).fetch(connection);
    let (mut items, mut held) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await? {
        let (key, found) = table.found(&row)?;
        let item = QueryItem {
            key,
            value: found.value.unwrap_or_default(),
            etag: found.etag,
            error: None,
        };
        hold(&mut held, &item)?;
        items.push(item);
    }
    let next = u64::from(skip) + items.len() as u64;
    Ok(QueryResponse {
        token: if request.limit > 0 {
            next.to_string()
        } else {
            String::new()
        },
        items,
        ..QueryResponse::default()
    })
}

/// Counts one more item of an answer. Not [`StateError::Invalid`]: there is more to come on the connection.
fn hold(held: &mut usize, item: &QueryItem) -> Result<(), StateError> {
    *held += item.key.len() + item.value.len() + BESIDE;
    match *held > LARGEST {
        true => Err(StateError::Other(
            "more is found than fits into an answer: set page.limit".into(),
        )),
        false => Ok(()),
    }
}

/// The statement of a query, up to its limit. `select` ends with a condition.
fn statement(select: &str, request: &QueryRequest) -> Result<QueryBuilder<Postgres>, StateError> {
    let mut statement = QueryBuilder::new(select);
    if !request.filter.is_empty() {
        let mut filter = Map::new();
        for (operator, operand) in &request.filter {
            let operand = serde_json::from_slice(operand).map_err(|_| wrong("the filter is no JSON"))?;
            filter.insert(operator.clone(), operand);
        }
        statement.push(" AND ");
        let mut left = MOST_COMPARISONS;
        condition(&mut statement, &Value::Object(filter), DEEPEST, &mut left)?;
    }
    for (place, (key, descending)) in request.sort.iter().enumerate() {
        statement.push(if place == 0 { " ORDER BY " } else { ", " });
        text_at(&mut statement, key);
        if *descending {
            statement.push(" DESC");
        }
    }
    if request.limit > 0 {
        let limit = i64::try_from(request.limit).map_err(|_| wrong("the limit of the page is too large"))?;
        statement.push(" LIMIT ").push_bind(limit);
    }
    Ok(statement)
}

fn condition(
    statement: &mut QueryBuilder<Postgres>,
    unit: &Value,
    depth: usize,
    left: &mut usize,
) -> Result<(), StateError> {
    let (operator, operand) = single(unit).ok_or_else(|| wrong("filter unit must have a single element"))?;
    let deeper = depth
        .checked_sub(1)
        .ok_or_else(|| wrong("filter is nested too deeply"))?;
    let sign = match operator {
        "EQ" => " = ",
        "NEQ" => " <> ",
        "GT" => " > ",
        "GTE" => " >= ",
        "LT" => " < ",
        "LTE" => " <= ",
        "IN" => {
            let pair = single(operand).and_then(|(key, values)| Some((key, values.as_array()?)));
            let pair = pair.filter(|(_, values)| !values.is_empty());
            let (key, values) = pair.ok_or_else(|| wrong("IN filter must contain a single key and an array"))?;
            let one = |value: &Value| serde_json::json!({ "EQ": { key: value } });
            return joined(statement, " OR ", values.iter().map(one), deeper, left);
        }
        "AND" | "OR" => {
            let units = operand.as_array().filter(|units| !units.is_empty());
            let units = units.ok_or_else(|| wrong(&format!("{operator} filter must be an array")))?;
            let word = if operator == "AND" { " AND " } else { " OR " };
            return joined(statement, word, units.iter().cloned(), deeper, left);
        }
        other => return Err(wrong(&format!("unsupported filter {other:?}"))),
    };
    let (key, value) =
        single(operand).ok_or_else(|| wrong(&format!("{operator} filter must contain a single key/value pair")))?;
    let text = match value {
        Value::String(_) if !matches!(operator, "EQ" | "NEQ") => {
            return Err(wrong("unsupported type of value; string type not permitted"));
        }
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => return Err(wrong("a value must be a string, a number or a truth value")),
        other => other.to_string(),
    };
    *left = left
        .checked_sub(1)
        .ok_or_else(|| wrong("filter has too many comparisons"))?;
    text_at(statement, key);
    statement.push(sign).push_bind(text);
    Ok(())
}

fn joined(
    statement: &mut QueryBuilder<Postgres>,
    word: &str,
    units: impl Iterator<Item = Value>,
    depth: usize,
    left: &mut usize,
) -> Result<(), StateError> {
    statement.push("(");
    for (place, unit) in units.enumerate() {
        if place > 0 {
            statement.push(word);
        }
        condition(statement, &unit, depth, left)?;
    }
    statement.push(")");
    Ok(())
}

/// The text at a path such as `person.name`.
fn text_at(statement: &mut QueryBuilder<Postgres>, key: &str) {
    let path: Vec<String> = key.split('.').map(str::to_owned).collect();
    statement.push("value #>> ").push_bind(path);
}

fn single(value: &Value) -> Option<(&str, &Value)> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    members.iter().next().map(|(name, value)| (name.as_str(), value))
}

fn wrong(reason: &str) -> StateError {
    StateError::Invalid(reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(filter: &str) -> QueryRequest {
        let filter: Map<String, Value> = serde_json::from_str(filter).unwrap();
        QueryRequest {
            filter: filter
                .into_iter()
                .map(|(name, value)| (name, value.to_string().into()))
                .collect(),
            sort: vec![("state".into(), true), ("person.name".into(), false)],
            limit: 2,
            ..QueryRequest::default()
        }
    }

    #[test]
    fn everything_of_a_query_is_bound() {
        let filter = r#"{"OR":[{"EQ":{"a' OR '1'='1":"x"}},{"AND":[{"NEQ":{"b":1}},{"IN":{"c":["y","z"]}}]}]}"#;
        let built = statement("SELECT WHERE true", &request(filter)).unwrap();
        assert_eq!(
            built.sql().as_str(),
            "SELECT WHERE true AND (value #>> $1 = $2 OR (value #>> $3 <> $4 AND (value #>> $5 = $6 OR value #>> $7 = $8))) \
             ORDER BY value #>> $9 DESC, value #>> $10 LIMIT $11"
        );
    }

    #[test]
    fn an_answer_has_a_bound_of_bytes() {
        let item = |size: usize| QueryItem {
            key: "app||k".into(),
            value: vec![0; size].into(),
            ..QueryItem::default()
        };
        let mut held = 0;
        assert!((0..7).all(|_| hold(&mut held, &item(8 << 20)).is_ok()));
        let error = hold(&mut held, &item(8 << 20)).unwrap_err();
        assert!(
            matches!(&error, StateError::Other(text) if text.contains("page.limit")),
            "{error}"
        );
        // Items without values are no way around it.
        let mut held = 0;
        let empty = item(0);
        assert!((0..LARGEST / BESIDE).any(|_| hold(&mut held, &empty).is_err()));
    }

    #[test]
    fn what_is_no_filter_is_said() {
        let deep = format!("{}{}{}", r#"{"AND":["#.repeat(40), r#"{"EQ":{"a":1}}"#, "]}".repeat(40));
        let wide = format!(r#"{{"IN":{{"a":[{}]}}}}"#, vec!["1"; 2000].join(","));
        for (filter, reason) in [
            (r#"{"EQ":{"a":1},"NEQ":{"a":1}}"#, "single element"),
            (r#"{"EQ":{"a":1,"b":2}}"#, "single key/value"),
            (r#"{"EQ":1}"#, "single key/value"),
            (r#"{"GT":{"a":"x"}}"#, "string type not permitted"),
            (r#"{"EQ":{"a":[1]}}"#, "must be a string"),
            (r#"{"IN":{"a":[]}}"#, "IN filter"),
            (r#"{"AND":{}}"#, "AND filter"),
            (r#"{"LIKE":{"a":"x"}}"#, "unsupported filter"),
            (&deep, "too deeply"),
            (&wide, "too many"),
        ] {
            let error = statement("", &request(filter)).err().unwrap().to_string();
            assert!(error.contains(reason), "{reason}: {error}");
        }
    }
}
