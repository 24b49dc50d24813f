//! Texts that the server reads for us, each into the binary form of a parameter's type.
//!
//! One idea: `SELECT $1::text::interval` says in one question what a library of forms would say. Only names of types, as the
//! server itself writes them, become part of a statement. Must never put a value there.

use sqlx::postgres::PgConnection;
use sqlx::postgres::types::Oid;
use sqlx::{AssertSqlSafe, Row as _, ValueRef as _};

use super::parameters::{Form, Said};

/// Replaces all texts.
pub(super) async fn by_server(connection: &mut PgConnection, forms: &mut [Form]) -> Result<(), sqlx::Error> {
    let mut texts: Vec<(&mut Said, String, i64)> = Vec::new();
    for form in forms {
        let number = form.kind.oid().map_or(0, |Oid(number)| number);
        if let Said::Text(text) = &form.said {
            let text = text.clone();
            texts.push((&mut form.said, text, i64::from(number)));
        }
    }
    if texts.is_empty() {
        return Ok(());
    }
    let numbers: Vec<i64> = texts.iter().map(|(_, _, number)| *number).collect();
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT format_type(n::oid, NULL) FROM unnest($1) WITH ORDINALITY AS t(n, place) ORDER BY place",
    )
    .bind(numbers)
    .fetch_all(&mut *connection)
    .await?;
    let items: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(place, name)| format!("${}::text::{name}", place + 1))
        .collect();
    let mut query = sqlx::query(AssertSqlSafe(format!("SELECT {}", items.join(", ")))).persistent(false);
    for (_, text, _) in &texts {
        query = query.bind(text.clone());
    }
    let row = query.fetch_one(connection).await?;
    for (place, (said, _, _)) in texts.into_iter().enumerate() {
        let value = row.try_get_raw(place)?;
        *said = match value.is_null() {
            true => Said::Null,
            false => Said::Bytes(value.as_bytes().map_err(sqlx::Error::Decode)?.to_vec()),
        };
    }
    Ok(())
}
