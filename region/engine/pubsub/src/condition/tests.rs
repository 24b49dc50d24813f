//! Conditions beside the answers of Dapr's own engine, and expressions that mean no good.

use proptest::prelude::*;

use super::*;
use crate::Message;

fn event() -> Value {
    let text = r#"{"id":"1","type":"a.b","topic":"t","data":{"n":7,"list":[1,2.5],"flag":true,"none":null,
        "deep":{"x":"y"}}}"#;
    let message = Message {
        data: text.into(),
        ..Message::default()
    };
    variable(&Event::read(&message, false, "t", "ps").unwrap())
}

fn fits(text: &str) -> Result<bool, ConditionError> {
    Condition::compile(text)?.fits(&event())
}

/// What Dapr's own engine (`pkg/expr` of 1.18.1) answered to the same rules over the same event.
#[test]
fn answers_are_those_of_daprs_engine() {
    for (text, expected) in [
        (r#"event.type == "a.b""#, true),
        (r#"event.type == 'other'"#, false),
        ("event.data.n == 7", true),
        ("event.data.n > 6.5 && event.data.n < 8", true),
        ("event.data.n != 7 || event.data.flag", true),
        ("!event.data.flag", false),
        ("event.data.list[1] == 2.5", true),
        ("1.0 in event.data.list", true),
        ("size(event.data.list) == 2", true),
        ("event.data.list.exists(x, x > 2.0)", true),
        ("event.data.list.all(x, x > 2.0)", false),
        ("has(event.data.deep) && !has(event.data.missing)", true),
        (r#"event.data.deep.x.startsWith("y")"#, true),
        (r#"event.type.matches("^a.*b$")"#, true),
        (r#"event.type.contains(".") && event.type.endsWith("b")"#, true),
        (r#"event["data"]["n"] == 7.0"#, true),
        (r#"event.data.n == 7 ? event.id == "1" : false"#, true),
        (r#"event.topic in ["s", "t"]"#, true),
        ("event.data.none == null", true),
        ("int(event.data.n) % 2 == 1", true),
        ("1 in event.data.list", true),
        (r#"event.missing == 1 || event.id == "1""#, true),
        ("event.id == 1", false),
        (r#"event.data.flag == "true""#, false),
        ("type(event.data.n) == double", true),
        ("event.data.list == [1.0, 2.5]", true),
        (r#"string(event.data.n) == "7""#, true),
        ("event.type.size() == 3", true),
        (
            r#"timestamp("2020-01-01T00:00:00Z") < timestamp("2021-01-01T00:00:00Z")"#,
            true,
        ),
        (r#"duration("1h") > duration("1m")"#, true),
        (r#"event.data.deep == {"x": "y"}"#, true),
        (r#""a" + event.id == "a1""#, true),
        (r#"event.id.matches("(?i)1")"#, true),
    ] {
        assert_eq!(fits(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_has_no_answer_says_so_without_data() {
    for text in [
        "event.missing == 1",
        "event.data.n % 2 == 1",
        "event.data.n + 1 == 8",
        "event.id < 5",
        "event.data.n.x == 1",
        "other == 1",
        "event.data.n + 'x' == 1",
    ] {
        let error = fits(text).unwrap_err();
        assert!(matches!(error, ConditionError::Evaluate { .. }), "{text}: {error}");
    }
    assert!(matches!(fits("event.type"), Err(ConditionError::NotBoolean(_))));
    for text in ["event.", "((", "", "a b", "event.?id == 1", &"!".repeat(9000)] {
        assert!(
            matches!(Condition::compile(text), Err(ConditionError::Compile { .. })),
            "{text:.20}"
        );
    }
}

#[test]
fn depth_is_bounded() {
    for text in [
        "(".repeat(4000),
        "!".repeat(8000),
        "[".repeat(4000),
        "-".repeat(8000),
        "a.".repeat(4000),
        "a?".repeat(4000),
    ] {
        let _ = Condition::compile(&text);
        let _ = Condition::compile(&format!("{text}1"));
    }
    let long = vec!["event.id"; 700].join("==");
    let _ = fits(&long);
}

proptest! {
    #[test]
    fn no_text_takes_the_process_down(text in "\\PC{0,200}", expression in "[event.data()\\[\\]{}'\"!&|=<>+*/%?:, 0-9x-]{0,80}") {
        let _ = fits(&text);
        let _ = fits(&expression);
    }
}
