//! One event on its way to an application, and what the application may answer.

use std::sync::Mutex;

use palladium_component::bindings::{Binding, Ways};

use super::*;
use crate::entry::Block;
use crate::metrics::Counted;
use crate::testing::{application, nobody, server};

struct Nothing;

impl Binding for Nothing {
    fn ways(&self) -> Ways {
        Ways { out: false, into: true }
    }
}

fn entry(server: &Server, unasked: bool) -> BindingEntry {
    BindingEntry {
        out: Block {
            name: "in".to_owned(),
            driver: Arc::new(Nothing),
            calls: server.metrics.calls(Counted::OutputBinding, "in"),
        },
        events: server.metrics.calls(Counted::InputBinding, "in"),
        is_output: false,
        is_input: true,
        unasked,
        route: "/a b".to_owned(),
    }
}

fn occurrence() -> Event {
    let metadata = [("x-kind", "new"), ("content-length", "9999"), ("no name", "x")];
    Event {
        data: "happened".into(),
        metadata: metadata
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        ..Event::default()
    }
}

#[tokio::test]
async fn an_event_is_a_post_and_its_answer_goes_back() {
    let server = server();
    let seen = Arc::new(Mutex::new(String::new()));
    let kept = seen.clone();
    let app = application(move |request| {
        *kept.lock().unwrap() = request;
        std::future::ready((202, "thanks".to_owned()))
    });
    let app = app.await;
    let answer = event(&Arc::downgrade(&server), &app, &entry(&server, false), occurrence()).await;
    assert_eq!(answer.unwrap(), Some("thanks".into()));
    let request = seen.lock().unwrap().to_ascii_lowercase();
    assert!(request.starts_with("post /base/a%20b http/1.1"), "{request}");
    assert!(
        request.contains("x-kind: new") && request.ends_with("\r\n\r\nhappened"),
        "{request}"
    );
    assert!(!request.contains("9999") && !request.contains("no name"), "{request}");
}

#[tokio::test]
async fn what_is_no_success_is_an_error_with_its_status() {
    let server = server();
    let app = application(|_| std::future::ready((503, "not now".to_owned()))).await;
    let said = event(&Arc::downgrade(&server), &app, &entry(&server, false), occurrence()).await;
    let said = said.unwrap_err();
    assert_eq!(said.code, Some(503));
    assert_eq!(
        said.words,
        "fails to send binding event to http app channel, status code: 503 body: not now"
    );
    let said = event(
        &Arc::downgrade(&server),
        &*nobody().await,
        &entry(&server, false),
        occurrence(),
    )
    .await;
    let said = said.unwrap_err();
    assert!(
        said.code.is_none() && said.words.starts_with("error invoking app: "),
        "{said}"
    );
}

#[tokio::test]
async fn an_application_wants_what_it_does_not_refuse() {
    let server = server();
    for (status, wanted) in [(200, true), (204, true), (405, true), (404, false), (500, false)] {
        let app = application(move |request| {
            assert!(request.starts_with("OPTIONS /base/a%20b "), "{request}");
            std::future::ready((status, String::new()))
        });
        assert_eq!(
            is_wanted(&*app.await, &entry(&server, false)).await,
            Ok(wanted),
            "{status}"
        );
    }
    let nobody = nobody().await;
    assert!(
        is_wanted(&nobody, &entry(&server, false)).await.is_err(),
        "that is no answer"
    );
    assert_eq!(
        is_wanted(&nobody, &entry(&server, true)).await,
        Ok(true),
        "the component says so"
    );
}
