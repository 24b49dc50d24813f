//! Conditions beside the answers of Dapr's own engine, and expressions that mean no good.

use proptest::prelude::*;

use super::*;
use crate::Message;

fn event() -> Seen {
    let text = r#"{"id":"1","type":"a.b","topic":"t","data":{"n":7,"list":[1,2.5],"flag":true,"none":null,
        "deep":{"x":"y"}}}"#;
    let message = Message {
        data: text.into(),
        ..Message::default()
    };
    Seen::new(&Event::read(&message, false, "t", "ps").unwrap())
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

/// An event of so many items of so many bytes.
fn items(count: usize, length: usize) -> Seen {
    let items = vec![format!("{:?}", "x".repeat(length)); count].join(",");
    let message = Message {
        data: format!(r#"{{"id":"1","items":[{items}]}}"#).into(),
        ..Message::default()
    };
    Seen::new(&Event::read(&message, false, "t", "ps").unwrap())
}

#[test]
fn sec_059_an_expression_that_multiplies_is_never_evaluated() {
    let doubled = |times: usize| format!("['x']{} == ['y']", ".map(x, x + x)".repeat(times));
    assert!(
        matches!(Condition::compile(&doubled(40)), Err(ConditionError::Compile { .. })),
        "too deep"
    );
    let sum = vec!["x"; 150].join("+");
    let nested = "event.items.all(a, event.items.all(b, event.items.all(c, a == b)))";
    for (text, event) in [
        (
            format!("event.items.map(x, {sum}).map(x, {sum}) == ['y']"),
            items(1, 10_000),
        ),
        (nested.to_owned(), items(1000, 10)),
        (
            "event.items.map(x, event.items).map(y, event.items) == []".to_owned(),
            items(1000, 10),
        ),
        ("event.items.all(x, event == event)".to_owned(), items(3000, 10)),
    ] {
        let condition = Condition::compile(&text).unwrap();
        let refused = condition.fits(&event);
        assert!(
            matches!(refused, Err(ConditionError::TooCostly(_))),
            "{text:.60}: {refused:?}"
        );
    }
    // What people write stays possible over large events.
    for (text, event) in [
        ("event.items.exists(x, x == 'y')", items(50_000, 10)),
        ("event.items.filter(x, x.startsWith('x')).size() > 3", items(10_000, 10)),
        ("event.items.map(x, size(x)).exists(n, n == 10)", items(10_000, 10)),
        (nested, items(30, 10)),
        ("event.id == '1' && event.items[0].matches('^x+$')", items(1, 100_000)),
    ] {
        let answer = Condition::compile(text).unwrap().fits(&event);
        assert!(answer.is_ok(), "{text}: {answer:?}");
    }
}

#[test]
fn sec_059_a_regular_expression_has_a_bound() {
    let event = items(1, 300 << 10);
    for text in [
        "event.id.matches('((a{100}){100}){100}')",
        "event.items[0].matches('x')",
        "matches(event.items[0], 'x')",
        "event.id.matches('(')",
        "event.id.matches(1)",
    ] {
        let answer = Condition::compile(text).unwrap().fits(&event);
        assert!(
            matches!(answer, Err(ConditionError::Evaluate { .. })),
            "{text}: {answer:?}"
        );
    }
}

proptest! {
    #[test]
    fn an_estimate_is_never_below_the_work(count in 0usize..40, length in 0usize..20) {
        // Each element is looked at once, so the work is at least their number.
        let event = items(count, length);
        for text in ["event.items.all(x, x != 'no')", "event.items.map(x, x + x).size() >= 0"] {
            let condition = Condition::compile(text).unwrap();
            #[allow(clippy::cast_precision_loss)]
            let least = count as f64;
            prop_assert!(condition.work(&event) >= least);
            prop_assert!(condition.fits(&event).unwrap());
        }
    }

    #[test]
    fn no_text_takes_the_process_down(text in "\\PC{0,200}", expression in "[event.data()\\[\\]{}'\"!&|=<>+*/%?:, 0-9x-]{0,80}") {
        let _ = fits(&text);
        let _ = fits(&expression);
    }
}
