//! Pieces that judge by bodies and change answers.
//!
//! Must never need a driver.

use std::sync::{Arc, Mutex};

use http::HeaderValue;
use http::request::Parts;
use palladium_component::middleware::Verdict;
use palladium_component::{CallError, Middleware, Reply};
use tracing::Level;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::*;
use crate::entry::Entry;
use crate::pipeline::{Piece, Pipelines, Slot, pass};
use crate::resources::Handler;
use crate::server::Components;

/// Marks what passes it, on both ways.
struct Marks {
    name: &'static str,
    reads: bool,
    changes: bool,
    answers: bool,
}

struct Mark(&'static str, bool);

impl Revise for Mark {
    fn changes(&self) -> bool {
        self.1
    }

    fn revise(self: Box<Self>, answer: Response<Bytes>) -> Reply<'static, Response<Bytes>, CallError> {
        if self.0 == "broken" {
            return Reply::ready(Err(CallError::Other("it broke".to_owned())));
        }
        let (mut head, body) = answer.into_parts();
        head.headers.append("x-back", HeaderValue::from_static(self.0));
        Reply::ready(Ok(Response::from_parts(
            head,
            [&body[..], self.0.as_bytes()].concat().into(),
        )))
    }
}

impl Middleware for Marks {
    fn judge<'a>(&'a self, head: &'a mut Parts) -> Reply<'a, Verdict, CallError> {
        if self.name == "fails" {
            return Reply::ready(Err(CallError::Other("it failed".to_owned())));
        }
        head.headers.append("x-on", HeaderValue::from_static(self.name));
        if self.answers {
            return Reply::ready(Ok(Verdict::Answer(Response::new(Bytes::from_static(b"here")))));
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-own", HeaderValue::from_static(self.name));
        Reply::ready(Ok(Verdict::Revise(headers, Box::new(Mark(self.name, self.changes)))))
    }

    fn reads(&self) -> bool {
        self.reads
    }

    fn judge_whole<'a>(&'a self, head: &'a mut Parts, body: &'a mut Bytes) -> Reply<'a, Verdict, CallError> {
        *body = [&body[..], self.name.as_bytes()].concat().into();
        self.judge(head)
    }

    fn rewrites(&self) -> bool {
        self.name == "doubles"
    }

    fn rewrite(&self, body: Bytes) -> Bytes {
        [&body[..], &body[..]].concat().into()
    }
}

fn marks(name: &'static str, reads: bool, changes: bool) -> Marks {
    Marks {
        name,
        reads,
        changes,
        answers: false,
    }
}

/// A server with these pieces, and the list of them.
fn with(pieces: Vec<Marks>) -> (Server, Arc<[Slot]>) {
    let list = pieces.iter().map(|piece| Handler {
        name: piece.name.to_owned(),
        kind: "middleware.http.marks".to_owned(),
    });
    let list: Vec<Handler> = list.collect();
    let list = Pipelines::new(&list, &[]).api().unwrap();
    let entries = pieces.into_iter().map(|piece| {
        Entry::Middleware(Arc::new(Piece {
            name: piece.name.to_owned(),
            kind: "middleware.http.marks".to_owned(),
            driver: Arc::new(piece),
        }))
    });
    let server = crate::platform::new_server(
        &crate::testing::config(),
        &Default::default(),
        palladium_tasks::Shutdown::new(),
    );
    let components = Components::new(entries.collect(), Vec::new(), Vec::new());
    server.components.store(Arc::new(components));
    (server, list)
}

fn head(length: bool) -> Parts {
    let (mut head, ()) = http::Request::new(()).into_parts();
    if length {
        head.headers.insert("content-length", 2.into());
    }
    head
}

async fn two() -> Result<Bytes, ()> {
    Ok(Bytes::from_static(b"ab"))
}

fn back(answer: &Response<Bytes>) -> Vec<&str> {
    let values = answer.headers().get_all("x-back").iter();
    values.filter_map(|value| value.to_str().ok()).collect()
}

async fn whole(answer: Response<Body>) -> Response<Bytes> {
    let (head, body) = answer.into_parts();
    Response::from_parts(head, crate::http::joined(body).await.unwrap())
}

#[tokio::test]
async fn a_body_is_read_once_for_those_who_judge_by_it_and_as_those_before_rewrote_it() {
    let (server, list) = with(vec![
        marks("doubles", false, false),
        marks("one", true, false),
        marks("two", true, false),
    ]);
    let mut head = head(true);
    let mut passed = pass(&server, &list, &mut head, two()).await.ok().unwrap();
    assert_eq!(passed.body().unwrap(), "ababonetwo");
    assert_eq!(head.headers["content-length"], "10");
}

#[tokio::test]
async fn a_body_that_nobody_asks_for_stays_where_it_is() {
    let (server, list) = with(vec![marks("one", false, true)]);
    let unread = async { Err::<Bytes, ()>(()) };
    let mut passed = pass(&server, &list, &mut head(false), unread).await.ok().unwrap();
    assert!(passed.body().is_none() && passed.revises());
    let (server, list) = with(vec![marks("one", true, true)]);
    let unread = async { Err::<Bytes, ()>(()) };
    assert!(matches!(
        pass(&server, &list, &mut head(false), unread).await.err(),
        Some(Stopped::Body((), _))
    ));
}

#[tokio::test]
async fn the_last_piece_sees_the_answer_first_and_only_who_may_changes_it() {
    let (server, list) = with(vec![
        marks("outer", false, true),
        marks("looks", false, false),
        marks("inner", false, true),
    ]);
    let mut passed = pass(&server, &list, &mut head(false), two()).await.ok().unwrap();
    let mut answer = Response::new(Body::from("x"));
    answer.headers_mut().insert("content-length", 1.into());
    let answer = passed.revised(&server, answer).await;
    let answer = whole(passed.answered(answer)).await;
    assert_eq!(back(&answer), ["inner", "outer"]);
    assert_eq!(answer.body(), "xinnerouter");
    assert_eq!(answer.headers()["content-length"], "11");
    assert_eq!(answer.headers()["x-own"], "inner");
}

#[tokio::test]
async fn who_only_looks_is_in_nobodys_way() {
    let (server, list) = with(vec![marks("broken", false, false), marks("looks", false, false)]);
    let mut passed = pass(&server, &list, &mut head(false), two()).await.ok().unwrap();
    let answer = passed.revised(&server, Response::new(Body::from("x"))).await;
    let answer = whole(passed.answered(answer)).await;
    assert_eq!((answer.status(), &answer.body()[..]), (StatusCode::OK, &b"x"[..]));
    assert!(back(&answer).is_empty());
}

#[tokio::test]
async fn a_piece_that_fails_with_an_answer_gives_another_one() {
    let (server, list) = with(vec![marks("outer", false, true), marks("broken", false, true)]);
    let mut passed = pass(&server, &list, &mut head(false), two()).await.ok().unwrap();
    let answer = passed.revised(&server, Response::new(Body::from("x"))).await;
    let answer = whole(answer).await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(back(&answer), ["outer"], "those before it see the failure");
}

/// How loud pipelines are.
#[derive(Clone, Default)]
struct Levels(Arc<Mutex<Vec<Level>>>);

impl<S: tracing::Subscriber> Layer<S> for Levels {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if metadata.target().contains("::pipeline") {
            self.0.lock().unwrap().push(*metadata.level());
        }
    }
}

#[tokio::test]
async fn callers_cannot_fill_the_log() {
    let levels = Levels::default();
    let listening = tracing_subscriber::registry().with(levels.clone());
    let _listening = tracing::subscriber::set_default(listening);
    for name in ["fails", "broken"] {
        let (server, list) = with(vec![marks(name, false, true)]);
        for _ in 0..3 {
            if let Ok(mut passed) = pass(&server, &list, &mut head(false), two()).await {
                passed.revised(&server, Response::new(Body::from("x"))).await;
            }
        }
        let said = std::mem::take(&mut *levels.0.lock().unwrap());
        let loud = said.iter().filter(|level| **level == Level::WARN).count();
        assert!(loud <= 1 && said.len() == 3, "{name}: {said:?}");
    }
}

#[tokio::test]
async fn the_answer_of_a_piece_is_seen_by_those_before_it_alone() {
    let mut answering = marks("inner", false, true);
    answering.answers = true;
    let (server, list) = with(vec![
        marks("outer", false, true),
        answering,
        marks("behind", false, true),
    ]);
    let Some(Stopped::Answer(answer)) = pass(&server, &list, &mut head(false), two()).await.err() else {
        panic!("it passed")
    };
    assert_eq!((back(&answer), &answer.body()[..]), (vec!["outer"], &b"hereouter"[..]));
}
