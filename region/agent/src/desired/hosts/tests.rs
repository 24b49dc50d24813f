//! Every way to write a host, in every kind of setting, and those that must not pass.

use super::*;

#[test]
fn hosts_are_found_in_all_their_forms() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("redisHost", "redis.example:6379", &["redis.example"]),
        ("redisHost", "localhost", &["localhost"]),
        ("redisHost", "[::ffff:127.0.0.1]", &["127.0.0.1"]),
        ("redisHost", "[::ffff:127.0.0.1]:6379", &["127.0.0.1"]),
        ("redisHost", "[::1]", &["::1"]),
        ("redisHost", "[fe80::1%eth0]:6379", &["fe80::1"]),
        ("redisHost", "fe80::1%eth0", &["fe80::1"]),
        ("redisHost", "Redis.Example.", &["redis.example"]),
        ("redisHost", "EVIL.EXAMPLE.:6379", &["evil.example"]),
        ("redisHost", "[::FFFF:A9FE:A9FE]:80", &["169.254.169.254"]),
        ("redisHost", "[::FFFF:7F00:1]", &["127.0.0.1"]),
        ("redisHost", "[0:0:0:0:0:0:0:1]:6379", &["::1"]),
        ("redisHost", "good.example@evil.example:6379", &["evil.example"]),
        ("redisHost", "a@good.example@evil.example", &["evil.example"]),
        ("redisHost", "redis://good.example@EVIL.example./0", &["evil.example"]),
        ("url", "http://good.example@evil.example/", &["evil.example"]),
        ("url", "http://good.example:80@evil.example/", &["evil.example"]),
        ("url", "http://evil.example\\@good.example/", &["evil.example"]),
        ("url", "http://evil.example#@good.example/", &["evil.example"]),
        // Where the standard says what a number means, it is what it means.
        ("url", "http://2852039166/", &["169.254.169.254"]),
        ("url", "http://0xA9FEA9FE/", &["169.254.169.254"]),
        ("url", "http://0177.0.0.1/", &["127.0.0.1"]),
        ("brokers", "k1:9092,k2:9092", &["k1", "k2"]),
        ("connectionString", "postgres://u:p@db.example/x", &["db.example"]),
        (
            "connectionString",
            "postgres://db.example/x?sslmode=require",
            &["db.example"],
        ),
        (
            "connectionString",
            "postgres://db.example/x?host=evil.example",
            &["db.example", "evil.example"],
        ),
        ("connectionString", "postgres://[::ffff:10.0.0.1]/x", &["10.0.0.1"]),
        (
            "connectionString",
            "postgres://good.example,@evil/x",
            &["good.example", "evil"],
        ),
        (
            "connectionString",
            "Server=tcp:db.example,1433;Password=x",
            &["db.example"],
        ),
        ("connectionString", "Data Source=db.example;User Id=x", &["db.example"]),
        ("connectionString", "host=db.example user=x", &["db.example"]),
        (
            "connectionString",
            "host=a.example,b.example user=x",
            &["a.example", "b.example"],
        ),
        (
            "connectionString",
            "u:p@tcp(db.example:3306)/x?tls=true",
            &["db.example"],
        ),
        ("anything", "10.0.0.1", &["10.0.0.1"]),
        ("anything", "http://169.254.169.254/latest", &["169.254.169.254"]),
        ("redisDB", "0", &[]),
        ("keyPrefix", "name", &[]),
        ("keyPrefix", "a=b", &[]),
        ("redisHost", "", &[]),
    ];
    for (name, value, expected) in cases {
        let expected: Vec<Found> = expected.iter().map(|host| Found::Host((*host).to_owned())).collect();
        assert_eq!(in_setting(name, value), expected, "{name}={value}");
    }
}

#[test]
fn a_setting_that_must_name_a_host_and_does_not_visibly_has_an_unknown_one() {
    for (name, value) in [
        ("redisHost", "{podName}"),
        ("redisHost", "[::1"),
        ("redisHost", "[::1]x"),
        ("redisHost", "a:b:c"),
        ("redisHost", "evil.example:six"),
        ("redisHost", "user=x"),
        ("redisHost", "2852039166"),
        ("redisHost", "2130706433:6379"),
        ("redisHost", "0xA9FEA9FE"),
        ("redisHost", "0x7f.1:6379"),
        ("redisHost", "0177.0.0.1"),
        ("redisHost", "127.1"),
        ("redisHost", "0"),
        ("redisHost", "evil.example:6379/@good.example"),
        ("redisHost", "evil.example?@good.example"),
        ("redisHost", "evil.example#@good.example"),
        ("redisHost", "evil.example\\@good.example"),
        ("redisHost", "\u{2170}localhost"),
        ("endpoints", "good.example:2379,[fe80::1%eth0"),
        ("connectionString", "redis://2852039166/0"),
        ("connectionString", "postgres://0x7f000001/x"),
        ("connectionString", "postgres://user:secret@/x"),
        // One driver's pairs are another's address, or have other separators.
        ("endpoints", "host=good.example;x=y@evil.example:2379"),
        ("endpoints", "host=good.example;x=evil.example:2379"),
        (
            "connectionString",
            "user=x host=evil.example password=p;host=good.example",
        ),
        ("connectionString", "host=good.example;x=b:pw@tcp(evil.example:3306)/db"),
        ("connectionString", "Password=x;User Id=y"),
        ("connectionString", "host= user=x"),
        ("connectionString", "user=x password=y"),
        ("connectionString", "host='evil.example' user=x"),
        ("connectionString", "postgres://u:p,w@evil.example/x"),
        ("connectionString", "postgres://ev%69l.example/x"),
        ("connectionString", "postgres:///x"),
        ("endpoint", "http://"),
        ("anything", "http://[::1/"),
        // What a URL parser reads as one, and what reads like pairs.
        ("url", "http:169.254.169.254/latest/?server=good.example"),
        ("url", "http:\\\\evil.example\\?a=b;server=good.example"),
        ("url", "\u{1}ht\ntps:/evil.example/?server=good.example"),
    ] {
        let found = in_setting(name, value);
        assert!(found.contains(&Found::Unknown), "{name}={value}: {found:?}");
    }
}
