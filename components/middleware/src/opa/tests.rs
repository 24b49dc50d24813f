//! Policies from the outside, and those that mean harm.
//!
//! Must never depend on how fast this machine is.

use http::HeaderMap;
use regorus::Value;

use super::*;
use crate::heard::Heard;

async fn opened(rego: &str, more: &[(&str, &str)]) -> Result<Arc<dyn Middleware>, OpenError> {
    let mut properties = vec![("rego", rego)];
    properties.extend(more);
    open(OpenContext::new("policy", "app", properties.into_iter().collect())).await
}

/// Status 0 = it passes, with the headers that it then has; otherwise those of the answer.
async fn asked(opa: &Arc<dyn Middleware>, request: http::request::Builder, body: &'static str) -> (u16, HeaderMap) {
    let (mut head, ()) = request.body(()).unwrap().into_parts();
    let mut body = Bytes::from_static(body.as_bytes());
    let verdict = if opa.reads() {
        opa.judge_whole(&mut head, &mut body).await.unwrap()
    } else {
        opa.judge(&mut head).await.unwrap()
    };
    match verdict {
        Verdict::Answer(answer) => (answer.status().as_u16(), answer.headers().clone()),
        _ => (0, head.headers),
    }
}

async fn decided(rego: &str, more: &[(&str, &str)], request: http::request::Builder, body: &'static str) -> u16 {
    let opa = opened(rego, more)
        .await
        .unwrap_or_else(|error| panic!("{rego}: {error}"));
    asked(&opa, request, body).await.0
}

fn get(path: &str) -> http::request::Builder {
    http::Request::get(path)
}

#[tokio::test]
async fn the_language_is_version_0_unless_a_policy_says_otherwise() {
    for (rego, status) in [
        ("package http\nallow = true", 0),
        ("package http\nallow = false", 403),
        (
            "package http\ndefault allow = true\nallow = { \"status_code\": 404 } { input.request.path_parts[0] = \"no\" }",
            404,
        ),
        ("package http\nallow { input.request.method == \"GET\" }", 0),
        (
            "package http\nimport rego.v1\nallow if { \"no\" in input.request.path_parts }",
            0,
        ),
        (
            "package http\nimport future.keywords\nallow if { some part in input.request.path_parts; part == \"no\" }",
            0,
        ),
        (
            "package http\nimport input.request\nallow { request.query.a[_] == \"1\" }",
            0,
        ),
    ] {
        assert_eq!(decided(rego, &[], get("/no?a=1"), "").await, status, "{rego}");
    }
}

#[tokio::test]
async fn without_a_decision_nobody_passes_and_the_answer_says_so() {
    for rego in [
        "package http\nallow = 1",
        "package http\nallow { input.request.nothing }",
        "package http.authz\nallow = true",
        "package http\nallow = true { true }\nallow = false { true }",
        "package http\nallow = json.unmarshal(\"{\")",
    ] {
        let opa = opened(rego, &[("defaultStatus", "401")]).await.unwrap();
        let (status, headers) = asked(&opa, get("/"), "").await;
        assert_eq!(
            (status, headers["x-dapr-opa-error"].to_str().unwrap()),
            (401, "true"),
            "{rego}"
        );
    }
}

#[tokio::test]
async fn headers_and_body_are_shown_where_they_are_asked_for() {
    let rego = "package http\ndefault allow = false\nallow { input.request.headers[\"X-Role\"] == \"a, b\"; input.request.body == \"ok\" }";
    let request = || get("/").header("x-role", "a").header("X-Role", "b");
    for (more, status) in [
        (&[("includedHeaders", "x-other, X-ROLE"), ("readBody", "true")][..], 0),
        (&[("includedHeaders", "x-role"), ("readBody", "false")], 403),
        (&[("readBody", "true")], 403),
    ] {
        assert_eq!(decided(rego, more, request(), "ok").await, status, "{more:?}");
    }
}

#[tokio::test]
async fn headers_go_on_with_the_request() {
    let rego = "package http\nallow = { \"allow\": true, \"additional_headers\": { \"X-User\": \"ann\" } }";
    let opa = opened(rego, &[]).await.unwrap();
    let (status, headers) = asked(&opa, get("/").header("x-user", "somebody"), "").await;
    assert_eq!((status, headers.get_all("x-user").iter().count()), (0, 1));
    assert_eq!(headers["x-user"], "ann");
}

#[tokio::test]
async fn claims_of_a_token_as_daprs_documentation_has_them() {
    let rego = "package http\ndefault allow = false\nallow = { \"allow\": true, \"additional_headers\": { \"x-user\": jwt.payload.sub } } { jwt.payload.role == \"admin\" }\n\
                jwt = { \"payload\": payload } {\n auth_header := input.request.headers[\"Authorization\"]\n [_, jwt] := split(auth_header, \" \")\n [_, payload, _] := io.jwt.decode(jwt)\n}";
    let opa = opened(rego, &[("includedHeaders", "authorization")]).await.unwrap();
    // {"alg":"none"} . {"sub":"ann","role":"admin"} . "x"
    let good = "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4iLCJyb2xlIjoiYWRtaW4ifQ.eA";
    let (status, headers) = asked(&opa, get("/").header("authorization", good), "").await;
    assert_eq!((status, headers["x-user"].to_str().unwrap()), (0, "ann"));
    for bad in [
        "Bearer a.b",
        "Bearer a.b.c.d",
        "Bearer e30.W10.eA",
        "Bearer",
        "nothing at all",
    ] {
        let (status, _) = asked(&opa, get("/").header("authorization", bad), "").await;
        assert_eq!(status, 403, "{bad}");
    }
}

#[tokio::test]
async fn what_is_no_policy_is_refused_with_its_place() {
    for (rego, reason) in [
        ("package http\nallow {", "line 2, column 7: expecting }"),
        (
            "package http\nallow { x > 1 }",
            "line 2, column 9: use of undefined variable `x` is unsafe",
        ),
        (
            "package http\nallow { nope.such(1) }",
            "line 2, column 18: could not find function nope.such",
        ),
        (
            "package http\nallow { http.send({}) }",
            "could not find function http.send",
        ),
    ] {
        let error = opened(rego, &[]).await.err().expect(rego).to_string();
        assert!(error.contains("rego") && error.contains(reason), "{rego}: {error}");
    }
    for (field, value) in [
        ("defaultStatus", "99"),
        ("defaultStatus", "600"),
        ("defaultStatus", "x"),
    ] {
        let error = opened("package http\nallow = true", &[(field, value)])
            .await
            .err()
            .expect(value);
        assert!(error.to_string().contains(field), "{error}");
    }
    assert!(
        open(OpenContext::new("p", "app", Default::default())).await.is_err(),
        "no policy at all"
    );
}

#[tokio::test]
async fn a_policy_that_would_never_end_is_refused_before_it_begins() {
    let chain: String = (0..200).map(|at| format!("a{at}(x) {{ a{}(x) }}\n", at + 1)).collect();
    let deep = format!(
        "package http\nallow {{ count({}{}) > 0 }}",
        "[".repeat(30),
        "]".repeat(30)
    );
    for (rego, reason) in [
        ("package http\nf(x) = y { y := f(x + 1) }\nallow { f(1) }", "recursion"),
        (
            "package http\nf(x) = y { y := g(x) }\ng(x) = y { y := data.http.f(x) }\nallow { f(1) }",
            "recursion",
        ),
        (
            "package http\nimport data.http as h\nf(x) = y { y := h.f(x) }\nallow { f(1) }",
            "recursion",
        ),
        (
            "package http\nf(x) = y { y := [z | z := data.http[\"f\"](x)] }\nallow { f(1) }",
            "recursion",
        ),
        (
            "package http\nf(x) { x }\nallow { f(1) with data.http.f as f }",
            "'with' replaces",
        ),
        (
            &format!("package http\n{chain}a200(x) {{ x }}\nallow {{ a0(true) }}"),
            "stand on each other",
        ),
        (&deep, "brackets nest"),
        (
            &format!("package http\nallow = true\n{}", "#".repeat(200 << 10)),
            "bytes",
        ),
    ] {
        let error = opened(rego, &[])
            .await
            .err()
            .unwrap_or_else(|| panic!("{rego}"))
            .to_string();
        assert!(error.contains(reason), "{rego}: {error}");
    }
    let brackets_in_texts = format!(
        "package http\nallow = true # {0}\nx = \"{0}\\\"{0}\"\ny = `{0}`",
        "[".repeat(20)
    );
    assert_eq!(decided(&brackets_in_texts, &[], get("/"), "").await, 0);
}

#[tokio::test]
async fn a_policy_that_takes_too_long_lets_nobody_pass() {
    let rego = "package http\nallow { input.request.path_parts[0] == \"slow\"; x := [y | a := numbers.range(1, 9999)[_]; b := numbers.range(1, 9999)[_]; y := a * b]; count(x) > 0 }\n\
                allow { input.request.path_parts[0] == \"fast\" }";
    let opa = opened(rego, &[]).await.unwrap();
    let (status, headers) = asked(&opa, get("/slow"), "").await;
    assert_eq!((status, headers.contains_key("x-dapr-opa-error")), (403, true));
    assert_eq!(asked(&opa, get("/fast"), "").await.0, 0, "others go on");
    let panics = opened(
        "package http\nallow { count(numbers.range(1, input.request.query.n[0])) > 0 }\nallow { count(numbers.range(1, to_number(input.request.query.n[0]))) > 0 }",
        &[],
    );
    let opa = panics.await.unwrap();
    let (status, headers) = asked(&opa, get("/?n=9000000000000000000"), "").await;
    assert_eq!((status, headers.contains_key("x-dapr-opa-error")), (403, true));
}

#[tokio::test]
async fn an_error_says_where_and_nothing_of_the_request() {
    for body in [
        "some x in input.request.headers[\"Authorization\"]; x == \"a\"",
        "x := {\"k\": v | v := split(input.request.headers[\"Authorization\"], \" \")[_]}; x.k == \"a\"",
    ] {
        let rego = format!("package http\nimport future.keywords\nallow if {{ {body} }}");
        let policy = Policy::read(rego)
            .await
            .unwrap_or_else(|error| panic!("{body}: {error}"));
        let request = get("/").header("authorization", "Bearer hunter2").body(()).unwrap();
        let (head, ()) = request.into_parts();
        let shown = Shown::new(&head, Bytes::new(), &Included::new("authorization"));
        let error = policy.allow(move || shown.document()).await.expect_err(body);
        assert!(
            error.starts_with("line 3, column ") && error.ends_with(": it cannot be evaluated"),
            "{body}: {error}"
        );
        assert!(!error.contains("hunter2"), "{body}: {error}");
    }
}

#[tokio::test]
async fn the_input_is_made_where_the_policy_is_evaluated() {
    let policy = Policy::read("package http\nallow = x { x := input }".to_owned());
    let policy = policy.await.unwrap_or_else(|error| panic!("{error}"));
    let here = || Value::from(std::thread::current().name().unwrap_or_default());
    assert_eq!(policy.allow(here).await, Ok(Value::from("policy")));
}

#[tokio::test]
async fn a_path_that_can_be_read_in_two_ways_lets_nobody_pass() {
    let opa = opened("package http\nallow = true", &[]).await.unwrap();
    for path in [
        // The application is called with `/admin`.
        "/v1.0/invoke/a/method/../admin",
        "/v1.0/invoke/a/method/%2e%2E/admin",
        "/x%2F..%2Fv1.0/secrets/s/n",
        "/v1.0/secrets/s/.",
    ] {
        let (status, headers) = asked(&opa, get(path), "").await;
        assert_eq!(
            (status, headers.contains_key("x-dapr-opa-error")),
            (403, true),
            "{path}"
        );
    }
    assert_eq!(asked(&opa, get("/v1.0/state/s/...%2F.a"), "").await.0, 0);
}

#[tokio::test]
async fn callers_cannot_fill_the_log() {
    let heard = Heard::default();
    let _listening = tracing::subscriber::set_default(heard.clone());
    let opa = opened("package http\nallow = 1", &[]).await.unwrap();
    for _ in 0..3 {
        asked(&opa, get("/"), "").await;
    }
    let lines = heard.lines();
    let mine = lines.iter().filter(|line| line.contains("could not decide"));
    let (told, all) = mine.fold((0, 0), |(told, all), line| {
        (told + usize::from(line.starts_with("WARN")), all + 1)
    });
    assert!(told <= 1 && all == 3, "{lines:?}");
}

#[tokio::test]
async fn only_a_process_of_ones_own_may_have_policies() {
    let context = OpenContext {
        hosting: palladium_component::Hosting::Platform { folder: "/x".into() },
        ..OpenContext::new(
            "p",
            "app",
            [("rego", "package http\nallow = true")].into_iter().collect(),
        )
    };
    let error = crate::DRIVERS
        .open("middleware.http.opa", "v1", context)
        .await
        .err()
        .unwrap();
    assert!(matches!(error, OpenError::NotAllowed(_)), "{error}");
}
