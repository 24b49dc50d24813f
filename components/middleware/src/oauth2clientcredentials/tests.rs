//! Tokens for a client, from an authorization server.
//!
//! Must never depend on how fast this machine is.

use http::StatusCode;
use serde_json::json;

use super::*;
use crate::oidc_server::{CLIENT, OidcServer, SECRET, Wants};

async fn opened(server: &OidcServer, more: &[(&str, &str)]) -> Result<Arc<dyn Middleware>, OpenError> {
    let token = format!("{}/token", server.issuer);
    let base = [
        ("clientID", CLIENT),
        ("clientSecret", SECRET),
        ("scopes", "read,write"),
        ("tokenURL", token.as_str()),
        ("headerName", "X-Token"),
    ];
    let fields = base.into_iter().chain(more.iter().copied());
    open(OpenContext::new("as-client", "app", fields.collect())).await
}

/// The header that goes along.
async fn asked(client: &Arc<dyn Middleware>, path: &str) -> Result<Option<String>, CallError> {
    let request = http::Request::get(path).header("x-token", "mine");
    let (mut head, ()) = request.body(()).unwrap().into_parts();
    let verdict = client.judge(&mut head).await?;
    assert!(matches!(verdict, Verdict::Pass(_)));
    let mut values = head.headers.get_all("x-token").iter();
    let value = values.next().map(|value| value.to_str().unwrap().to_owned());
    assert!(values.next().is_none(), "two of them");
    Ok(value)
}

#[tokio::test]
async fn one_token_of_an_own_oidc_server_is_for_all_requests() {
    let server = OidcServer::start().await;
    let client = opened(&server, &[("endpointParamsQuery", "audience=stock&x=1")])
        .await
        .unwrap();
    let several = (0..20).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { asked(&client, "/").await.unwrap().unwrap() })
    });
    let several: Vec<_> = several.collect();
    let mut tokens = std::collections::BTreeSet::new();
    for one in several {
        tokens.insert(one.await.unwrap());
    }
    assert_eq!((tokens.len(), server.room().given), (1, 1));
    assert!(tokens.first().unwrap().starts_with("Bearer ey"));
    let form = server.room().forms[0].clone();
    let expected = [
        ("grant_type", "client_credentials"),
        ("scope", "read write"),
        ("audience", "stock"),
        ("x", "1"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(form, expected.into());
    assert_eq!(
        asked(&opened(&server, &[("pathFilter", "^/a")]).await.unwrap(), "/b")
            .await
            .unwrap(),
        Some("mine".into())
    );
}

#[tokio::test]
async fn the_secret_goes_where_an_own_oidc_server_wants_it() {
    for (wants, style, calls) in [
        (Wants::Header, "0", Some(1)),
        (Wants::Form, "0", Some(2)),
        (Wants::Header, "2", Some(1)),
        (Wants::Form, "1", Some(1)),
        (Wants::Form, "2", None),
        (Wants::Header, "1", None),
    ] {
        let server = OidcServer::start().await;
        server.room().wants = wants;
        let client = opened(&server, &[("authStyle", style)]).await.unwrap();
        match (asked(&client, "/").await, calls) {
            (Ok(Some(_)), Some(calls)) => assert_eq!(server.room().asked_tokens, calls),
            (Err(error), None) => {
                let error = error.to_string();
                assert!(
                    error.contains("401 (invalid_client)") && !error.contains(SECRET),
                    "{error}"
                );
            }
            (outcome, _) => panic!("style {style}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn a_token_is_fetched_again_when_it_has_run_out() {
    let server = OidcServer::start().await;
    server.room().expires_in = Some(json!("0.002"));
    let client = opened(&server, &[]).await.unwrap();
    let first = asked(&client, "/").await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    server.room().expires_in = None;
    let second = asked(&client, "/").await.unwrap();
    assert_ne!(first, second);
    assert_eq!(asked(&client, "/").await.unwrap(), second);
    let client = opened(&server, &[]).await.unwrap();
    server.room().old_form = true;
    assert!(
        asked(&client, "/").await.unwrap().unwrap().starts_with("Bearer ey"),
        "a form of old"
    );
}

#[tokio::test]
async fn a_server_that_fails_is_not_asked_for_each_request() {
    let server = OidcServer::start().await;
    let client = opened(&server, &[("authStyle", "2")]).await.unwrap();
    for (status, body) in [
        (StatusCode::INTERNAL_SERVER_ERROR, "s3cret".to_owned()),
        (StatusCode::OK, "no token".to_owned()),
        (StatusCode::OK, r#"{"access_token":""}"#.to_owned()),
        (StatusCode::OK, r#"{"access_token":"a\nb"}"#.to_owned()),
        (
            StatusCode::OK,
            r#"{"error":"server_error","access_token":"a"}"#.to_owned(),
        ),
        (
            StatusCode::OK,
            format!(r#"{{"access_token":"{}"}}"#, "a".repeat(2 << 20)),
        ),
        (StatusCode::FOUND, String::new()),
    ] {
        let client = opened(&server, &[("authStyle", "2")]).await.unwrap();
        server.room().broken = Some((status, body));
        let error = asked(&client, "/").await.expect_err("a token").to_string();
        assert!(
            error.starts_with("failed to acquire a token: ") && !error.contains("s3cret"),
            "{error}"
        );
    }
    let before = server.room().asked_tokens;
    let tries = (0..50).map(|_| asked(&client, "/"));
    for one in tries.collect::<Vec<_>>() {
        assert!(one.await.is_err());
    }
    let asked_again = server.room().asked_tokens - before;
    assert!(asked_again < 10, "{asked_again} calls for 50 requests");
    server.room().broken = None;
    tokio::time::sleep(FAILED).await;
    assert!(asked(&client, "/").await.is_ok());
}

#[tokio::test]
async fn fields_that_are_wrong_are_told_by_name() {
    let server = OidcServer::start().await;
    for (field, value) in [
        ("tokenURL", "accounts"),
        ("headerName", "a header"),
        ("headerName", ""),
        ("authStyle", "3"),
        ("endpointParamsQuery", "scope=all"),
        ("pathFilter", "("),
    ] {
        let error = opened(&server, &[(field, value)]).await.err().expect(value).to_string();
        assert!(
            error.contains(&format!("'{field}'")) && !error.contains(SECRET),
            "{error}"
        );
    }
}
