//! A pipeline on its own, with pieces that are no drivers.
//!
//! Must never need a connection.

use std::sync::Mutex;

use palladium_component::Reply;
use palladium_component::middleware::Watch;

use super::*;
use crate::app_channel::AppChannel;
use crate::config::AppProtocol;
use crate::entry::Entry;
use crate::rules::Rules;

struct Doubles;

impl Middleware for Doubles {
    fn judge<'a>(&'a self, _: &'a mut Parts) -> Reply<'a, Verdict, CallError> {
        Reply::ready(Ok(Verdict::pass()))
    }
    fn rewrites(&self) -> bool {
        true
    }
    fn rewrite(&self, body: Bytes) -> Bytes {
        [&body[..], &body[..]].concat().into()
    }
}

struct Watches(Arc<Mutex<Vec<u16>>>);

impl Middleware for Watches {
    fn judge<'a>(&'a self, _: &'a mut Parts) -> Reply<'a, Verdict, CallError> {
        Reply::ready(Ok(Verdict::Watch(Box::new(Notes(self.0.clone())))))
    }
}

struct Notes(Arc<Mutex<Vec<u16>>>);

impl Watch for Notes {
    fn ended(self: Box<Self>, status: StatusCode) {
        self.0.lock().unwrap().push(status.as_u16());
    }
}

fn handler(name: &str) -> Handler {
    Handler {
        name: name.to_owned(),
        kind: "middleware.http.own".to_owned(),
    }
}

#[test]
fn those_who_watch_see_the_answer_of_whoever_stands_behind_them() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let watched = || {
        let mut passed = Passed::default();
        passed.ending.add(Box::new(Notes(told.clone())));
        passed.headers.insert("x-a", HeaderValue::from_static("1"));
        passed
    };
    let Verdict::Answer(refusal) = Verdict::refuse(StatusCode::TOO_MANY_REQUESTS, "too many") else {
        panic!("no answer")
    };
    watched().cut(refusal);
    let answer = watched().answered(Response::new(Body::from("abc")));
    assert_eq!(answer.headers()["x-a"], "1");
    assert_eq!(*told.lock().unwrap(), [429, 200]);
    drop(watched());
    assert_eq!(told.lock().unwrap().len(), 2, "given up before anybody answered");
}

#[tokio::test]
async fn those_who_watch_are_told_of_a_body_that_cannot_be_read_for_the_application() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let pieces: [(&str, Arc<dyn Middleware>); 2] = [
        ("watches", Arc::new(Watches(told.clone()))),
        ("doubles", Arc::new(Doubles)),
    ];
    let list = pieces.each_ref().map(|(name, _)| handler(name));
    let entries = pieces.into_iter().map(|(name, driver)| {
        let Handler { name, kind } = handler(name);
        Entry::Middleware(Arc::new(Piece { name, kind, driver }))
    });
    let components = Components::new(entries.collect(), Vec::new(), Vec::new());
    let server = crate::testing::server();
    server.components.store(Arc::new(components));
    server.rules.store(Arc::new(Rules {
        pipelines: Pipelines::new(&[], &list),
        ..Rules::default()
    }));
    server.max_body.store(2, Ordering::Relaxed);
    // Nobody listens there, nor is anybody called.
    let app = AppChannel::endpoint("http://127.0.0.1:1", AppProtocol::Http, None, None, false).expect("sound");
    let app = app.behind(&server);
    let called = app.call(http::Method::POST, "/", HeaderMap::new(), Body::from("abc"));
    let called = called.await;
    assert!(
        matches!(called, Err(crate::app_channel::CallError::TooLarge)),
        "{called:?}"
    );
    assert_eq!(*told.lock().unwrap(), [500]);
}

#[test]
fn the_length_follows_a_rewritten_body() {
    let passed = Passed {
        rewriting: vec![Arc::new(Doubles), Arc::new(Doubles)],
        ..Passed::default()
    };
    let mut headers = HeaderMap::new();
    assert_eq!(passed.rewrite("ab".into(), &mut headers), "abababab");
    assert!(headers.is_empty(), "a streamed body gets no length");
    headers.insert(CONTENT_LENGTH, 2.into());
    passed.rewrite("ab".into(), &mut headers);
    assert_eq!(headers[CONTENT_LENGTH], "8");
}

#[tokio::test]
async fn a_missing_piece_stops_a_tenants_calls_and_is_passed_over_elsewhere() {
    let list: Vec<Handler> = serde_json::from_value(serde_json::json!([
        { "name": "auth", "type": "middleware.http.bearer" }
    ]))
    .expect("a list");
    let list = Pipelines::new(&list, &[]).api().unwrap();
    for (hosted, expected) in [(true, Some(StatusCode::SERVICE_UNAVAILABLE)), (false, None)] {
        let server = Server {
            hosted,
            ..crate::platform::new_server(
                &crate::testing::config(),
                &Default::default(),
                palladium_tasks::Shutdown::new(),
            )
        };
        let (mut head, ()) = http::Request::new(()).into_parts();
        let unread = async { Err::<Bytes, ()>(()) };
        let refused = match pass(&server, &list, &mut head, unread).await {
            Ok(_) => None,
            Err(Stopped::Answer(answer)) => Some(answer.status()),
            Err(Stopped::Body(..)) => panic!("it read the body"),
        };
        assert_eq!(refused, expected);
    }
}

#[test]
fn a_missing_piece_is_news_once_until_it_is_there_again() {
    let slot = Slot::new(&handler("auth"));
    let news = [false, true, true, false, true].map(|is_missing| slot.is_news(is_missing));
    assert_eq!(news, [false, true, false, true, true]);
}
