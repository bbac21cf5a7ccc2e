//! The rules of the format, one by one.

use crate::form::content_type::Boundary;
use crate::form::multipart::{BUFFER, MAX_PART_HEADERS, MAX_PREAMBLE, Multipart};
use crate::form::{Field, FileName, Form, FormError, MAX_FIELDS};

/// The fields of a body whose boundary is `b`, or why it is refused.
fn read(body: &[u8]) -> Result<Vec<(Field, Vec<u8>)>, &'static str> {
    let boundary = Boundary::new(b"b").expect("a boundary");
    let mut form = Form::Multipart(Multipart::new(&boundary, body));
    let mut read_all = || {
        let mut fields = Vec::new();
        while let Some(field) = form.next_field()? {
            fields.push((field, form.text(usize::MAX)?));
        }
        form.drain()?;
        Ok(fields)
    };
    read_all().map_err(|error| match error {
        FormError::Malformed(reason) => reason,
        FormError::Read(error) => panic!("{error}"),
    })
}

/// The only value of a body that has one part, named `a`, without a file name.
fn value(body: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut fields = read(body)?;
    let (field, value) = fields.pop().ok_or("no field")?;
    assert!(fields.is_empty(), "{}", body.escape_ascii());
    assert_eq!(field.name, b"a");
    assert_eq!(field.file_name, FileName::Absent);
    Ok(value)
}

/// A body with one part, whose headers are `headers` and whose value is `v`.
fn with_headers(headers: &str) -> Vec<u8> {
    format!("--b\r\n{headers}\r\n\r\nv\r\n--b--\r\n").into_bytes()
}

const NAME: &str = "Content-Disposition: form-data; name=\"a\"";

#[test]
fn delimiters_are_found_at_line_starts_only() {
    let part = format!("--b\r\n{NAME}\r\n\r\n");
    let cases: [(&str, &str); 7] = [
        ("v", "v"),
        ("--b", "x--b"),
        ("\r\n--", "\r\n--c\r\n-b"),
        ("\r", "\r\r\n\r\r"),
        ("\n--b--", "x\n--b--"),
        ("\r--b--", "x\r--b--\r"),
        ("\r\n", "\r\n --b"),
    ];
    for (prefix, value_text) in cases {
        for text in [value_text.to_owned(), format!("x{prefix}y{value_text}")] {
            let body = format!("{part}{text}\r\n--b--");
            assert_eq!(value(body.as_bytes()).as_deref(), Ok(text.as_bytes()));
        }
    }
}

#[test]
fn preamble_padding_and_epilogue_are_tolerated() {
    let part = format!("{NAME}\r\n\r\nv");
    for (before, padding, after) in [
        ("", "", ""),
        ("\r\n", " \t ", "\r\n"),
        ("preamble --b--\r\n", "", "--b\r\n"),
        ("x\r\n-\r\n--\r\n", "\t", " \t\r\nepilogue\r\n--b\r\nX"),
    ] {
        let body = format!("{before}--b{padding}\r\n{part}\r\n--b--{after}");
        assert_eq!(value(body.as_bytes()).as_deref(), Ok(&b"v"[..]), "{body:?}");
    }
}

#[test]
fn a_form_may_be_empty_and_so_may_values() {
    for body in ["--b--", "--b--\r\n", "\r\n--b--", "preamble\r\n--b--x"] {
        assert_eq!(read(body.as_bytes()), Ok(Vec::new()));
    }
    for body in [
        format!("--b\r\n{NAME}\r\n\r\n\r\n--b--"),
        // RFC 2046 lets a part without a value end right after its headers.
        format!("--b\r\n{NAME}\r\n\r\n--b--"),
    ] {
        assert_eq!(value(body.as_bytes()).as_deref(), Ok(&b""[..]), "{body:?}");
    }
}

#[test]
fn delimiters_that_something_follows_are_refused() {
    for body in ["--bc", "--b-c", "--b --", "--b\rx", "--b\r\rx", "x\r\n--bc"] {
        let expected = Err("a delimiter that something follows");
        assert_eq!(read(body.as_bytes()), expected, "{body:?}");
        let after_value = format!("--b\r\n{NAME}\r\n\r\nv\r\n{body}");
        if body.starts_with("--") {
            assert_eq!(read(after_value.as_bytes()), expected, "{body:?}");
        }
    }
}

#[test]
fn headers_of_real_clients_are_read() {
    for headers in [
        "content-disposition:form-data;name=a".to_owned(),
        format!("Content-Type: text/plain; charset=utf-8\r\n{NAME}\t "),
        format!("{NAME}\r\nContent-Transfer-Encoding: 8BIT\r\nContent-Length: 99"),
        format!("CONTENT-TRANSFER-ENCODING:binary\r\n{NAME}\r\nX-Empty:"),
        format!("{NAME}\r\nX: --b\r\nY: \u{e9}\u{1}"),
        format!("{NAME}\r\nX: y\r\n z\r\n\tz"),
        "Content-Disposition:\r\n form-data;\r\n\tname=\"a\"".to_owned(),
        format!("{NAME}\r\nX: y\r\n \r\nY:"),
        "Content-Disposition: attachment; name=a".to_owned(),
    ] {
        let body = with_headers(&headers);
        assert_eq!(value(&body).as_deref(), Ok(&b"v"[..]), "{headers:?}");
    }
}

#[test]
fn unusable_headers_are_refused() {
    for headers in [
        String::new(),
        "Content-Type: text/plain".to_owned(),
        "Content-Disposition: form-data".to_owned(),
        format!("{NAME}\r\n{NAME}"),
        format!("{NAME}; name=a"),
        format!("{NAME}\r\nContent-Transfer-Encoding: base64"),
        format!("{NAME}\r\nContent-Transfer-Encoding:"),
        format!("{NAME}\nX: y"),
        format!("{NAME}\r\nX: y\rz"),
        format!("{NAME}\r\nX: y\0"),
        format!(" {NAME}"),
        format!("\r\n {NAME}"),
        format!("{NAME}\r\nX: y\n z"),
        format!("{NAME}\r\nX\r\n : y"),
        format!("{NAME}\r\nX : y"),
        format!("{NAME}\r\n: y"),
        format!("{NAME}\r\nX"),
    ] {
        assert!(read(&with_headers(&headers)).is_err(), "{headers:?}");
    }
}

#[test]
fn a_body_with_bare_line_feeds_is_refused_with_that_cause() {
    let body = format!("--b\r\n{NAME}\r\nX: y\r\n\r\nv\r\n--b--\r\n");
    let lf_only = body.replace("\r\n", "\n");
    let delimiter = Err("a delimiter line that ends in LF instead of CR LF");
    assert_eq!(read(lf_only.as_bytes()), delimiter);
    assert_eq!(read(b"--b \n"), delimiter);
    for line in [NAME, "X: y"] {
        let body = body.replace(&format!("{line}\r\n"), &format!("{line}\n"));
        let header = Err("a header line that ends in LF instead of CR LF");
        assert_eq!(read(body.as_bytes()), header, "{line}");
    }
}

#[test]
fn a_folded_header_counts_once_and_all_of_it() {
    let folded = "Content-Disposition: form-data; filename=\"a;\r\n name=b\";\r\n name=\"a\"";
    let fields = read(&with_headers(folded)).expect("a form");
    assert_eq!(fields[0].0.name, b"a");
    // A continuation line is no header of its own.
    let hidden = "X: y\r\n Content-Disposition: form-data; name=\"a\"";
    assert_eq!(
        read(&with_headers(hidden)),
        Err("a part without Content-Disposition")
    );
    let twice = format!("{NAME};\r\n name=\"b\"");
    assert!(read(&with_headers(&twice)).is_err());
}

#[test]
fn limits_are_exact() {
    let filler = |length: usize| "x".repeat(length);
    // The two line breaks after the headers count.
    let headers = |length: usize| {
        let fixed = format!("{NAME}\r\nX: ");
        format!("{fixed}{}", filler(length - 4 - fixed.len()))
    };
    assert!(read(&with_headers(&headers(MAX_PART_HEADERS))).is_ok());
    assert_eq!(
        read(&with_headers(&headers(MAX_PART_HEADERS + 1))),
        Err("part headers over 8 KiB")
    );
    let endless = [b"--b\r\n", &vec![b'x'; 2 * BUFFER][..]].concat();
    assert_eq!(read(&endless), Err("part headers over 8 KiB"));
    let padded = [b"--b", &[b' '; MAX_PART_HEADERS + 1][..]].concat();
    assert_eq!(read(&padded), Err("part headers over 8 KiB"));

    let preamble = |length: usize| format!("{}\r\n--b--", filler(length)).into_bytes();
    assert_eq!(read(&preamble(MAX_PREAMBLE)), Ok(Vec::new()));
    let too_long = Err("a preamble over 8 KiB");
    assert_eq!(read(&preamble(MAX_PREAMBLE + 1)), too_long);
    assert_eq!(read(&[b'x'; MAX_PREAMBLE + 1]), too_long);

    let parts = |count: usize| {
        let part = format!("--b\r\n{NAME}\r\n\r\nv\r\n");
        format!("{}--b--", part.repeat(count)).into_bytes()
    };
    assert_eq!(read(&parts(MAX_FIELDS)).map(|fields| fields.len()), Ok(64));
    assert_eq!(read(&parts(MAX_FIELDS + 1)), Err("more than 64 parts"));
}

#[test]
fn nothing_is_shown_of_the_body() {
    let boundary = Boundary::new(b"b").expect("a boundary");
    let body = with_headers(NAME);
    let mut form = Multipart::new(&boundary, &body[..]);
    form.next_field().expect("a field");
    let shown = format!("{form:?}");
    assert!(
        shown.contains("Value") && !shown.contains("memory"),
        "{shown}"
    );
}
