//! Pieces of a pipeline that count calls, and whose answers are counted. Must never count one that is over.

use http::request::Parts;
use http::{HeaderMap, Method};
use palladium_component::middleware::Verdict;
use palladium_component::{CallError, Middleware, Reply};

use super::*;
use crate::app_channel;
use crate::entry::Entry;
use crate::http::Body;
use crate::pipeline::{Piece, Pipelines};
use crate::resources::Handler;
use crate::rules::Rules;

const METHOD: &str = "/v1.0/invoke/orders/method/a";

impl World {
    /// One in which an isolation rule stands before the API or the application.
    async fn guarded(resource: &str, before_app: bool) -> Self {
        let rules = json!([{ "resource": format!("POST:{resource}"), "threshold": 1 }]).to_string();
        Self::behind("middleware.http.sentinel", &[("isolationRules", &rules)], before_app).await
    }

    /// One in which a piece of this type stands before the API or the application.
    pub(super) async fn behind(kind: &str, metadata: &[(&str, &str)], before_app: bool) -> Self {
        let world = Self::start().await;
        let metadata: Vec<_> = metadata
            .iter()
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect();
        let declared = json!({
            "metadata": { "name": "guard" },
            "spec": { "type": kind, "version": "v1", "metadata": metadata },
        });
        let declared = Component::read(declared, "orders", "prj-a", References::Resolved);
        let declared = declared.expect("sound").expect("in scope");
        let opener = Opener {
            app_id: "orders".to_owned(),
            namespace: "prj-a".to_owned(),
            hosting: Hosting::SelfHosted,
            managed: None,
            pluggable: Vec::new(),
            secrets: Default::default(),
        };
        let Ok(Opened::Ready(entry, about)) = opener.open(&declared, &world.server.metrics).await else {
            panic!("it does not open")
        };
        let components = Components::new(vec![entry], vec![about], Vec::new());
        world.with(components, kind, before_app);
        world
    }

    /// Has these components, of which `guard` of this type stands before the API or the application.
    fn with(&self, components: Components, kind: &str, before_app: bool) {
        self.server.components.store(Arc::new(components));
        let list = [Handler {
            name: "guard".to_owned(),
            kind: kind.to_owned(),
        }];
        let pipelines = match before_app {
            false => Pipelines::new(&list, &[]),
            true => Pipelines::new(&[], &list),
        };
        let rules = Rules {
            pipelines,
            ..Rules::default()
        };
        self.server.rules.store(Arc::new(rules));
    }

    /// Until a call is refused; what keeps the place.
    async fn until_refused(&self) -> TcpStream {
        let probe = async {
            loop {
                // It is given up after a while, so it is begun again.
                let slow = self.unfinished(METHOD, 1, b"x").await;
                for _ in 0..20 {
                    if self.post(METHOD, "x").await.status == StatusCode::TOO_MANY_REQUESTS {
                        return slow;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        timeout(SOON, probe).await.expect("in time")
    }

    async fn until_served(&self) {
        let probe = async {
            while self.post(METHOD, "x").await.status != StatusCode::OK {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, probe).await.expect("in time");
    }
}

#[tokio::test]
async fn calls_that_have_ended_count_no_more() {
    for (resource, before_app) in [(METHOD, false), ("/a", true)] {
        let world = World::guarded(resource, before_app).await;
        for _ in 0..3 {
            let answer = world.post(METHOD, "one after the other").await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_call_counts_until_it_is_given_up() {
    let world = World::guarded(METHOD, false).await;
    let slow = world.until_refused().await;
    drop(slow);
    world.until_served().await;
}

/// Answers with as many bytes as the query says.
struct Talks;

impl Middleware for Talks {
    fn judge<'a>(&'a self, head: &'a mut Parts) -> Reply<'a, Verdict, CallError> {
        let bytes = head.uri.query().and_then(|bytes| bytes.parse::<usize>().ok());
        let body = Bytes::from(vec![b'x'; bytes.unwrap_or_default()]);
        Reply::ready(Ok(Verdict::Answer(Response::new(body))))
    }
}

async fn talking(before_app: bool) -> World {
    let world = World::start().await;
    let kind = "middleware.http.talks";
    let talks = Entry::Middleware(Arc::new(Piece {
        name: "guard".to_owned(),
        kind: kind.to_owned(),
        driver: Arc::new(Talks),
    }));
    let components = Components::new(vec![talks], Vec::new(), Vec::new());
    world.with(components, kind, before_app);
    world
}

#[tokio::test]
async fn the_answers_of_pieces_are_counted() {
    for before_app in [false, true] {
        let world = talking(before_app).await;
        for (bytes, status) in [
            (400_000, StatusCode::OK),
            (BUDGET + 1, StatusCode::SERVICE_UNAVAILABLE),
            (400_000, StatusCode::OK),
        ] {
            let answer = world.post(&format!("{METHOD}?{bytes}"), "x").await;
            assert_eq!(answer.status, status, "{bytes}, {before_app}");
            if status == StatusCode::OK {
                assert_eq!(answer.body.len(), bytes);
            } else {
                assert_eq!(answer.code(), "ERR_RESOURCE_EXHAUSTED", "{answer:?}");
            }
            world.until_free().await;
        }
    }
}

#[tokio::test]
async fn the_answer_of_a_piece_before_the_application_counts_whoever_called() {
    let world = talking(true).await;
    let app = world.server.app.load_full().expect("an application");
    let call = |bytes: usize| {
        let (app, path) = (app.clone(), format!("/?{bytes}"));
        async move { app.call(Method::GET, &path, HeaderMap::new(), Body::Empty).await }
    };
    let answer = call(700_000).await.expect("answered");
    assert!(world.server.budget.hold().take(400_000).is_err(), "it is not counted");
    let refused = call(400_000).await;
    assert!(matches!(refused, Err(app_channel::CallError::NoRoom(_))), "{refused:?}");
    drop(answer);
    world.until_free().await;
}
