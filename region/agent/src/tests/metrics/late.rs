//! Dapr Servers that let a question go by in silence, and all others beside them.

use std::collections::HashSet;

use bytes::Bytes;
use futures_util::future::join_all;

use super::*;
use crate::metrics::ask::NoAnswer;

/// Who takes a question and says nothing. All others answer at once.
type Silent = Arc<Mutex<HashSet<String>>>;

fn dial(silent: Silent) -> Dial {
    Arc::new(move |spiffe_id: String, _: SocketAddr| {
        let is_silent = silent.lock().unwrap().contains(&spiffe_id);
        async move {
            let (near, mut far) = tokio::io::duplex(1024);
            tokio::spawn(async move {
                let mut question = [0; 1024];
                let _ = far.read(&mut question).await;
                if is_silent {
                    // Until whoever asks has gone.
                    let _ = far.read_to_end(&mut Vec::new()).await;
                } else {
                    let _ = far.write_all(answer("200 OK", "said").as_bytes()).await;
                }
            });
            let stream: Box<dyn Stream> = Box::new(near);
            io::Result::Ok(stream)
        }
        .boxed()
    })
}

async fn ask(questions: &Questions, name: &str) -> Result<Bytes, NoAnswer> {
    let address = Some(SocketAddr::from(([127, 0, 0, 1], 1)));
    let spiffe_id = name.to_owned();
    questions.ask(DaprServer { spiffe_id, address }).await
}

#[tokio::test]
async fn whoever_was_silent_keeps_nobody_waiting_again() {
    let names: Vec<String> = (0..TURNS).map(|number| number.to_string()).collect();
    let silent: Silent = Arc::new(Mutex::new(names.iter().cloned().collect()));
    let mut questions = Questions::new(dial(silent.clone()));
    questions.bounds.wait = SHORT;
    let questions = &questions;
    let ask_all = || join_all(names.iter().map(|name| ask(questions, name)));
    let is_late = |said: &Result<Bytes, NoAnswer>| matches!(said, Err(NoAnswer::TooLong(_)));
    assert!(ask_all().await.iter().all(is_late), "they have all turns");
    let begun = Instant::now();
    let quick = async {
        let said = ask(questions, "quick").await;
        (said, begun.elapsed())
    };
    let (late, (said, elapsed)) = tokio::join!(ask_all(), quick);
    assert!(late.iter().all(is_late));
    assert_eq!(said.expect("there is a turn"), "said");
    assert!(elapsed < SHORT / 2, "{elapsed:?}");
    // Whoever answers again is one of all, and has all the time that there is.
    silent.lock().unwrap().clear();
    for said in ask_all().await {
        assert_eq!(said.expect("it is asked all the same"), "said");
    }
    silent.lock().unwrap().insert("0".to_owned());
    let begun = Instant::now();
    assert!(is_late(&ask(questions, "0").await));
    assert!(begun.elapsed() >= SHORT, "as for all");
    let begun = Instant::now();
    assert!(is_late(&ask(questions, "0").await));
    assert!(begun.elapsed() < SHORT, "as for whoever is late");
}

#[tokio::test]
async fn waiting_for_a_turn_makes_nobody_late() {
    let silent = Silent::default();
    let mut questions = Questions::new(dial(silent.clone()));
    questions.bounds.wait = SHORT;
    let all = u32::try_from(TURNS).unwrap();
    let held = questions.turns.clone().acquire_many_owned(all).await.unwrap();
    assert!(ask(&questions, "0").await.is_err(), "there is no turn");
    drop(held);
    silent.lock().unwrap().insert("0".to_owned());
    let begun = Instant::now();
    assert!(ask(&questions, "0").await.is_err());
    assert!(begun.elapsed() >= SHORT, "it has all the time that there is");
}
