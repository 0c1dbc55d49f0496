//! Both versions of the answer, and the lies that must not pass.

use serde_json::{Value, json};
use xetway_core::Hash;

use super::Reconstruction;

fn hash(byte: u8) -> String {
    Hash::from_bytes([byte; 32]).to_hex()
}

fn v1() -> Value {
    json!({
        "offset_into_first_range": 5,
        "terms": [
            {"hash": hash(1), "unpacked_length": 200, "range": {"start": 0, "end": 2}},
            {"hash": hash(2), "unpacked_length": 300, "range": {"start": 3, "end": 4}},
            {"hash": hash(1), "unpacked_length": 100, "range": {"start": 1, "end": 2}},
        ],
        "fetch_info": {
            hash(1): [
                {"range": {"start": 1, "end": 2}, "url": "https://h/1?sig=inner", "url_range": {"start": 100, "end": 199}},
                {"range": {"start": 0, "end": 2}, "url": "https://h/1?sig=secret", "url_range": {"start": 0, "end": 199}},
            ],
            hash(2): [{"range": {"start": 3, "end": 4}, "url": "http://h/2", "url_range": {"start": 900, "end": 1199}}],
        },
    })
}

fn v2() -> Value {
    let mut json = v1();
    json.as_object_mut().unwrap().remove("fetch_info");
    json["xorbs"] = json!({
        hash(1): [{"url": "https://h/1?sig=secret", "ranges": [{"chunks": {"start": 0, "end": 2}, "bytes": {"start": 0, "end": 199}}]}],
        hash(2): [{"url": "http://h/2", "ranges": [{"chunks": {"start": 3, "end": 4}, "bytes": {"start": 900, "end": 1199}}]}],
    });
    json
}

fn parse(json: &Value) -> crate::Result<Reconstruction> {
    Reconstruction::parse(json.to_string().as_bytes(), "store")
}

#[test]
fn both_versions_say_the_same() {
    let plan = parse(&v1()).unwrap();
    assert_eq!(plan, parse(&v2()).unwrap());
    assert_eq!(
        (plan.offset_into_first, plan.raw_bytes(), plan.terms.len()),
        (5, 600, 3)
    );
    let fetch = plan.fetch_for(&plan.terms[2]).unwrap();
    assert_eq!((fetch.chunks.clone(), fetch.bytes.clone()), (0..2, 0..200));
    assert_eq!(fetch.url.expose(), "https://h/1?sig=secret");
    assert!(!format!("{plan:?}").contains("sig="));
}

#[test]
fn the_empty_file_has_no_terms() {
    let empty = json!({"offset_into_first_range": 0, "terms": [], "xorbs": {}});
    assert_eq!(parse(&empty).unwrap(), Reconstruction::default());
}

#[test]
fn several_ranges_of_one_url_are_several_fetches() {
    let mut json = v2();
    json["xorbs"][hash(1)][0]["ranges"] = json!([
        {"chunks": {"start": 1, "end": 2}, "bytes": {"start": 100, "end": 199}},
        {"chunks": {"start": 0, "end": 1}, "bytes": {"start": 0, "end": 99}},
    ]);
    // The first term lies across two fetches.
    assert!(parse(&json).is_err());
    json["terms"][0]["range"]["end"] = json!(1);
    let plan = parse(&json).unwrap();
    assert_eq!(plan.fetches[&plan.terms[0].xorb].len(), 2);
    assert_eq!(plan.fetch_for(&plan.terms[2]).unwrap().chunks, 1..2);
}

#[test]
fn lies_are_refused_and_no_url_is_shown() {
    let set = |pointer: &str, value: Value| {
        let mut json = v1();
        *json.pointer_mut(pointer).unwrap() = value;
        json
    };
    let fetch = |field: &str| format!("/fetch_info/{}/1/{field}", hash(1));
    let cases = [
        set("/offset_into_first_range", json!(200)),
        set("/offset_into_first_range", json!(-1)),
        set("/terms/0/hash", json!("xyz")),
        set("/terms/0/unpacked_length", json!(0)),
        set("/terms/0/unpacked_length", json!(2 * 131_072 + 1)),
        set("/terms/0/unpacked_length", json!(u64::MAX)),
        set("/terms/0/range/end", json!(3)),
        set("/terms/0/range/end", json!(0)),
        set("/terms/0/range/end", json!(8193)),
        set("/terms/1/hash", json!(hash(9))),
        set(&fetch("url"), json!("/relative?sig=secret")),
        set(&fetch("url"), json!("file:///etc/passwd?sig=secret")),
        set(&fetch("url"), json!(format!("https://h/{}", "x".repeat(20_000)))),
        set(&fetch("url_range/start"), json!(1)),
        set(&fetch("url_range/end"), json!(5)),
        set(&fetch("url_range/end"), json!(u64::MAX)),
        set(&fetch("range/end"), json!(8193)),
        set("/terms", json!(null)),
        set("/fetch_info", json!(null)),
        json!("sig=secret"),
        json!([]),
    ];
    for json in cases {
        let error = parse(&json).unwrap_err();
        assert_eq!(error.code(), "bad_answer", "{json}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn bytes_must_agree_with_chunks() {
    for (start, end) in [(100, 400), (200, 150), (150, 400), (201, 400)] {
        let mut json = v1();
        json["fetch_info"][hash(1)][0] = json!(
            {"range": {"start": 2, "end": 3}, "url": "https://h/1", "url_range": {"start": start, "end": end}}
        );
        assert!(parse(&json).is_err(), "{start}-{end}");
    }
    let mut json = v1();
    json["fetch_info"][hash(1)][0] = json!(
        {"range": {"start": 2, "end": 3}, "url": "https://h/1", "url_range": {"start": 200, "end": 400}}
    );
    assert!(parse(&json).is_ok());
}

#[test]
fn cut_json_is_refused_at_every_byte() {
    let text = v2().to_string();
    for end in 0..text.len() {
        assert!(Reconstruction::parse(&text.as_bytes()[..end], "store").is_err());
    }
}
