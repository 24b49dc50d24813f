//! Forms of keys, and what goes with what.
//!
//! One idea: wrapping is proven by a published vector and by the way there and back, over every form a key may have. Must
//! never hold a private key as text.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use x509_parser::der_parser::der::parse_der;

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn file_key() -> SecretSlice<u8> {
    vec![42; 32].into()
}

fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")).into_bytes()
}

/// There with one, and back with the other.
fn goes_through(there: &Key, back: &Key, algorithm: &str) {
    let wrapped = there.wrap(&file_key(), algorithm).unwrap();
    let key = back.unwrap(&wrapped, algorithm).unwrap();
    assert_eq!(key.expose_secret(), file_key().expose_secret());
    let mut broken = wrapped;
    broken[5] ^= 1;
    assert!(back.unwrap(&broken, algorithm).is_err());
}

#[test]
fn aes_key_wrap_is_that_of_rfc_3394() {
    let key: Vec<u8> = (0..32).collect();
    let key = parse(&key, Form::Unknown).unwrap();
    let data = bytes("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f");
    let wrapped = key.wrap(&data.clone().into(), "A256KW").unwrap();
    let expected = "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21";
    assert_eq!(wrapped, bytes(expected));
    assert_eq!(key.unwrap(&wrapped, "A256KW").unwrap().expose_secret(), data);
    for short in [&wrapped[..16], &wrapped[..7], &[]] {
        assert!(key.unwrap(short, "A256KW").is_err());
    }
}

#[test]
fn symmetric_keys_in_every_form() {
    let raw: Vec<u8> = (200..232).collect();
    let jwk = format!(r#"{{"kty":"oct","k":"{}"}}"#, URL_SAFE_NO_PAD.encode(&raw));
    let same = parse(&raw, Form::Unknown).unwrap();
    for text in [
        format!("{}\n", STANDARD.encode(&raw)),
        STANDARD.encode(&raw).trim_end_matches('=').to_owned(),
        format!("{}\r\n", URL_SAFE.encode(&raw)).replace('\r', ""),
        jwk.clone(),
    ] {
        goes_through(&parse(text.as_bytes(), Form::Unknown).unwrap(), &same, "A256KW");
    }
    goes_through(&parse(jwk.as_bytes(), Form::Jwk).unwrap(), &same, "A256KW");
    for (bad, form) in [
        ("", Form::Unknown),
        ("\n", Form::Unknown),
        ("{}", Form::Jwk),
        ("x", Form::Pem),
        ("{\"kty\":\"oct\"}", Form::Jwk),
    ] {
        assert!(parse(bad.as_bytes(), form).is_err(), "{bad}");
    }
}

#[test]
fn rsa_keys_in_every_form() {
    let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let pkcs8 = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&private).unwrap();
    let public = private.public_key();
    let info = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(&public).unwrap();
    // PKCS #8 is a version, an algorithm, and PKCS #1 in an octet string.
    let (_, outer) = parse_der(pkcs8.as_ref()).unwrap();
    let pkcs1 = outer.as_sequence().unwrap()[2].as_slice().unwrap().to_vec();
    let (_, inner) = parse_der(&pkcs1).unwrap();
    let numbers: Vec<String> = inner.as_sequence().unwrap()[1..9]
        .iter()
        .map(|number| URL_SAFE_NO_PAD.encode(number.as_slice().unwrap()))
        .collect();
    let names = ["n", "e", "d", "p", "q", "dp", "dq", "qi"];
    let member = |(name, number): (&&str, &String)| format!(r#","{name}":"{number}""#);
    let jwk = |count: usize| {
        let members: String = names.iter().zip(&numbers).take(count).map(member).collect();
        format!(r#"{{"kty":"RSA"{members}}}"#).into_bytes()
    };
    let both = [
        parse(&pem("PRIVATE KEY", pkcs8.as_ref()), Form::Pem).unwrap(),
        parse(&pem("RSA PRIVATE KEY", &pkcs1), Form::Unknown).unwrap(),
        parse(&jwk(8), Form::Jwk).unwrap(),
    ];
    let public_only = [
        parse(&pem("PUBLIC KEY", info.as_ref()), Form::Unknown).unwrap(),
        parse(&jwk(2), Form::Unknown).unwrap(),
    ];
    for there in both.iter().chain(&public_only) {
        for back in &both {
            goes_through(there, back, "RSA-OAEP-256");
        }
        assert!(
            public_only[0]
                .unwrap(&there.wrap(&file_key(), "RSA-OAEP-256").unwrap(), "RSA-OAEP-256")
                .is_err()
        );
    }
    // A private key without all of its numbers, and numbers that do not fit together.
    assert!(parse(&jwk(5), Form::Jwk).is_err());
    let broken = String::from_utf8(jwk(8))
        .unwrap()
        .replace(r#""e":"AQAB""#, r#""e":"Aw""#);
    assert!(parse(broken.as_bytes(), Form::Jwk).is_err());
}

#[test]
fn algorithms_that_do_not_fit_are_told_as_dapr_tells_them() {
    let symmetric = parse(&[1; 32], Form::Unknown).unwrap();
    let short = parse(&[200; 16], Form::Unknown).unwrap();
    let curve = parse(br#"{"kty":"EC","crv":"P-256"}"#, Form::Jwk).unwrap();
    for (key, algorithm, why) in [
        (&symmetric, "RSA-OAEP-256", "key type mismatch"),
        (&symmetric, "A256CBC-NOPAD", "unsupported algorithm"),
        (&symmetric, "nonsense", "unsupported algorithm"),
        (&short, "A256KW", "key type mismatch"),
        (&curve, "A256KW", "key type mismatch"),
        (&curve, "RSA-OAEP-256", "key type mismatch"),
    ] {
        let error = key.wrap(&file_key(), algorithm).unwrap_err().to_string();
        assert_eq!(error, format!("failed to encrypt data: {why}"), "{algorithm}");
    }
}

#[test]
fn a_key_is_used_for_nothing_but_its_purpose() {
    let k = URL_SAFE_NO_PAD.encode([7; 32]);
    let key = |more: &str| parse(format!(r#"{{"kty":"oct","k":"{k}",{more}}}"#).as_bytes(), Form::Jwk).unwrap();
    let wrap = |more: &str| {
        key(more)
            .wrap(&file_key(), "A256KW")
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    assert_eq!(wrap(r#""use":"enc","key_ops":["wrapKey"],"alg":"A256KW""#), Ok(()));
    let cannot = "key cannot perform the 'wrapKey' operation";
    assert_eq!(wrap(r#""use":"sig""#), Err(cannot.into()));
    assert_eq!(wrap(r#""key_ops":["unwrapKey"]"#), Err(cannot.into()));
    assert_eq!(
        wrap(r#""alg":"A128KW""#),
        Err("key cannot be used with algorithm 'A256KW'".into())
    );
}

#[test]
fn one_bad_key_does_not_take_the_others_with_it() {
    let k = URL_SAFE_NO_PAD.encode([7; 32]);
    let set = format!(
        r#"{{"keys":[{{"kty":"RSA","kid":"small","n":"AQAB","e":"AQAB"}},{{"kty":"new","kid":"odd"}},
            {{"kty":"oct","kid":"good","k":"{k}"}},{{"kty":"oct","kid":"good","k":"AA"}}]}}"#
    );
    let set = JwkSet::read(set.as_bytes()).unwrap();
    assert!(matches!(set.get("small"), Some(Err(KeyError::Rsa))) && matches!(set.get("odd"), Some(Err(_))));
    assert!(
        set.get("good").unwrap().unwrap().wrap(&file_key(), "A256KW").is_ok(),
        "the first of an id counts"
    );
    assert!(set.get("none").is_none());
}
