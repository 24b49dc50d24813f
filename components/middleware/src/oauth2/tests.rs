//! A browser between the driver and an authorization server.
//!
//! Must never depend on anything outside of this machine.

use std::collections::BTreeMap;

use http::header::COOKIE;
use serde_json::json;

use super::*;
use crate::oidc_server::{CLIENT, OidcServer, SECRET, Wants};

const BACK: &str = "https://orders.example.com/";

async fn opened(server: &OidcServer, more: &[(&str, &str)]) -> Result<Arc<dyn Middleware>, OpenError> {
    let (auth, token) = (
        format!("{}/authorize?a=b", server.issuer),
        format!("{}/token", server.issuer),
    );
    let base = [
        ("clientID", CLIENT),
        ("clientSecret", SECRET),
        ("scopes", "openid,profile"),
        ("authURL", auth.as_str()),
        ("tokenURL", token.as_str()),
        ("redirectURL", BACK),
    ];
    let fields = base.into_iter().chain(more.iter().copied());
    open(OpenContext::new("sign-in", "app", fields.collect())).await
}

/// What keeps cookies.
#[derive(Default)]
struct Browser {
    cookies: BTreeMap<String, String>,
    /// The attributes of the last ones.
    attributes: Vec<String>,
}

enum Came {
    /// The header that goes along with the request.
    Through(Option<String>),
    Back(StatusCode, String),
}

impl Browser {
    async fn get(&mut self, sign_in: &Arc<dyn Middleware>, path: &str) -> Came {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = http::Request::get(path)
            .header(COOKIE, format!("other=1; {}", cookies.join("; ")))
            .header("authorization", "mine")
            .header("host", "evil.example.com");
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        let answer = match sign_in.judge(&mut head).await.unwrap() {
            Verdict::Pass(_) | Verdict::Watch(_) | Verdict::Revise(..) => {
                let values: Vec<_> = head.headers.get_all("authorization").iter().collect();
                assert_eq!(values.len(), 1);
                return Came::Through(Some(values[0].to_str().unwrap().to_owned()));
            }
            Verdict::Answer(answer) => answer,
        };
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let (pair, attributes) = cookie.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
            self.attributes.push(attributes.trim().to_owned());
        }
        let location = answer.headers().get(LOCATION).map(|to| to.to_str().unwrap().to_owned());
        let body = String::from_utf8(answer.body().to_vec()).unwrap();
        Came::Back(answer.status(), location.unwrap_or(body))
    }

    async fn back(&mut self, sign_in: &Arc<dyn Middleware>, path: &str) -> (u16, String) {
        match self.get(sign_in, path).await {
            Came::Back(status, said) => (status.as_u16(), said),
            Came::Through(_) => panic!("{path} passes"),
        }
    }

    /// Signs in at the server: the path and query at which the browser comes back.
    async fn at_the_server(to: &str) -> String {
        let client = web::client("url", Duration::from_secs(10), false).unwrap();
        let answer = web::send(client.get(to), 1 << 20).await.ok().unwrap();
        let back = answer.headers[LOCATION].to_str().unwrap().to_owned();
        format!("/{}", back.strip_prefix(BACK).unwrap())
    }
}

#[tokio::test]
async fn a_browser_signs_in_at_an_own_oidc_server_and_comes_back() {
    let server = OidcServer::start().await;
    let sign_in = opened(&server, &[]).await.unwrap();
    let mut browser = Browser::default();
    let (status, to) = browser.back(&sign_in, "/orders?page=2").await;
    assert_eq!(status, 302);
    let expected = "?a=b&access_type=offline&client_id=orders+%26+more&code_challenge=";
    assert!(
        to.starts_with(&format!("{}/authorize{expected}", server.issuer)),
        "{to}"
    );
    let rest = "&redirect_uri=https%3A%2F%2Forders.example.com%2F&response_type=code&scope=openid+profile&state=";
    assert!(to.contains(rest), "{to}");
    assert_eq!(
        browser.attributes,
        ["Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure"]
    );
    let back = Browser::at_the_server(&to).await;
    assert_eq!(browser.back(&sign_in, &back).await, (302, "/orders?page=2".to_owned()));
    assert_eq!(
        browser.attributes[1..],
        [
            "Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure",
            "Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure"
        ]
    );
    let Came::Through(Some(token)) = browser.get(&sign_in, "/orders?page=2&state=x").await else {
        panic!("no session")
    };
    let token = token.strip_prefix("Bearer ").unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(&server.room().keys[0].public).unwrap();
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    rules.set_audience(&["orders"]);
    jsonwebtoken::decode::<serde_json::Value>(token, &key, &rules).expect("the server's own token");
    assert_eq!(server.room().asked_tokens, 1);
    assert_eq!(
        Browser::default().back(&sign_in, "/orders").await.0,
        302,
        "another browser"
    );
}

#[tokio::test]
async fn sec_a_session_is_only_for_whom_an_own_oidc_server_let_in() {
    let server = OidcServer::start().await;
    let sign_in = opened(&server, &[]).await.unwrap();
    let (mut victim, mut attacker) = (Browser::default(), Browser::default());
    let (_, to) = attacker.back(&sign_in, "/").await;
    let back = Browser::at_the_server(&to).await;
    let invalid = (400, "invalid state".to_owned());
    assert_eq!(victim.back(&sign_in, &back).await, invalid, "it has not begun here");
    victim.back(&sign_in, "/").await;
    assert_eq!(victim.back(&sign_in, &back).await, invalid, "it is another's");
    assert_eq!(server.room().asked_tokens, 0, "a code was sent for a stranger");
    let state = Url::parse(&to)
        .unwrap()
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap()
        .1
        .into_owned();
    let nothing = attacker.back(&sign_in, &format!("/?state={state}")).await;
    assert_eq!(nothing, (400, "code not found".to_owned()));
    let wrong = attacker.back(&sign_in, &format!("/?code=wrong&state={state}")).await;
    assert_eq!(wrong, (500, "Internal Server Error".to_owned()));
    let forged = [("dapr-session-sign-in".to_owned(), "AAAA".to_owned())].into();
    let mut forger = Browser {
        cookies: forged,
        ..Browser::default()
    };
    assert_eq!(forger.back(&sign_in, "/").await.0, 302);
    // A session ends with its token.
    server.room().expires_in = Some(json!("0.001"));
    assert_eq!(attacker.back(&sign_in, &back).await.0, 302);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(attacker.back(&sign_in, "/").await.0, 302);
}

#[tokio::test]
async fn sec_nobody_is_sent_on_to_another_host() {
    let server = OidcServer::start().await;
    for (force, path, expected) in [
        ("false", "//evil.example.com/x", "/evil.example.com/x"),
        ("false", "/\\evil.example.com", "/evil.example.com"),
        ("true", "/a?b", "https://orders.example.com/a?b"),
        (
            "true",
            "//evil.example.com",
            "https://orders.example.com/evil.example.com",
        ),
    ] {
        let sign_in = opened(&server, &[("forceHTTPS", force)]).await.unwrap();
        let mut browser = Browser::default();
        let (_, to) = browser.back(&sign_in, path).await;
        let back = Browser::at_the_server(&to).await;
        assert_eq!(
            browser.back(&sign_in, &back).await,
            (302, expected.to_owned()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn paths_that_are_not_meant_pass_as_they_are() {
    let server = OidcServer::start().await;
    server.room().wants = Wants::Form;
    let sign_in = opened(&server, &[("pathFilter", "^/(private)?$")]).await.unwrap();
    let mut browser = Browser::default();
    let Came::Through(Some(header)) = browser.get(&sign_in, "/public").await else {
        panic!("it does not pass")
    };
    assert_eq!(header, "mine");
    let (_, to) = browser.back(&sign_in, "/private").await;
    let back = Browser::at_the_server(&to).await;
    assert_eq!(browser.back(&sign_in, &back).await.0, 302, "{back}");
}

#[tokio::test]
async fn fields_that_are_wrong_are_told_by_name() {
    let server = OidcServer::start().await;
    for (field, value) in [
        ("authURL", "accounts"),
        ("tokenURL", "ftp://accounts"),
        ("redirectURL", "/back"),
        ("authHeaderName", "a header"),
        ("pathFilter", "("),
        ("clientSecret", ""),
    ] {
        let error = opened(&server, &[(field, value)]).await.err().expect(field).to_string();
        assert!(
            error.contains(&format!("'{field}'")) && !error.contains(SECRET),
            "{error}"
        );
    }
}
