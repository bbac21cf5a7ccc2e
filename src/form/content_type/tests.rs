use super::*;

fn boundary(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    match form_type(value)? {
        FormType::Multipart(boundary) => Ok(boundary.as_bytes().to_vec()),
        FormType::Urlencoded => Err("urlencoded"),
    }
}

fn field(value: &[u8]) -> Option<(Vec<u8>, FileName)> {
    disposition(value)
        .ok()
        .map(|field| (field.name, field.file_name))
}

#[test]
fn boundaries_of_real_clients_are_read() {
    let longest = [b'x'; MAX_BOUNDARY];
    let with_longest = [b"multipart/form-data; boundary=", &longest[..]].concat();
    let cases: [(&[u8], &[u8]); 16] = [
        (
            b"multipart/form-data; boundary=----WebKitFormBoundaryABC",
            b"----WebKitFormBoundaryABC",
        ),
        (b"Multipart/Form-Data;BOUNDARY=\"a b\"", b"a b"),
        (b"multipart/form-data; boundary=\"a;b\\\"\"; x=y", b"a;b\""),
        (b"multipart/form-data; boundary=*****", b"*****"),
        (b"multipart/form-data;boundary=*****\t", b"*****"),
        (
            b"multipart/form-data; boundary={8F6E4A11-0B8E-4B1A}",
            b"{8F6E4A11-0B8E-4B1A}",
        ),
        (
            b"multipart/form-data; boundary=\"{8F6E}\"; charset=x",
            b"{8F6E}",
        ),
        (b"multipart/form-data; boundary=a b", b"a b"),
        (
            b"multipart/form-data; boundary=x\xff%&<>@[]|~",
            b"x\xff%&<>@[]|~",
        ),
        (b"multipart/form-data; boundary==_a", b"=_a"),
        (b"multipart/form-data; charset=utf-8; boundary=x ", b"x"),
        (b"multipart/form-data; boundary=a=b/c:d?e", b"a=b/c:d?e"),
        (b"multipart/form-data; ; boundary = x;", b"x"),
        (b"multipart/form-data; x=\"; boundary=y\"; boundary=z", b"z"),
        (b"multipart/form-data ;\tflag; boundary=x", b"x"),
        (&with_longest, &longest),
    ];
    for (value, expected) in cases {
        let read = boundary(value);
        assert_eq!(read.as_deref(), Ok(expected), "{}", value.escape_ascii());
    }
}

#[test]
fn unusable_content_types_are_refused() {
    let too_long = [b"multipart/form-data; boundary=", &[b'x'; 201][..]].concat();
    let cases: [&[u8]; 17] = [
        b"",
        b";",
        b"application/json",
        b"multipart/mixed; boundary=x",
        b"multipart/form-data",
        b"multipart/form-data; boundary",
        b"multipart/form-data; boundary=",
        b"multipart/form-data; boundary=\"\"",
        b"multipart/form-data; boundary=\"x ",
        b"multipart/form-data; boundary=\"x \"",
        b"multipart/form-data; boundary=\"a\tb\"",
        b"multipart/form-data; boundary=a\"b\"",
        b"multipart/form-data; boundary=\"a\"b",
        b"multipart/form-data; boundary=x; boundary=x",
        b"multipart/form-data; boundary=x\x7f",
        b"multipart/form-data, boundary=x",
        &too_long,
    ];
    for value in cases {
        assert!(form_type(value).is_err(), "{}", value.escape_ascii());
    }
}

#[test]
fn urlencoded_may_name_a_charset() {
    let cases: [&[u8]; 3] = [
        b"application/x-www-form-urlencoded",
        b"APPLICATION/X-WWW-FORM-URLENCODED; charset=UTF-8",
        b"application/x-www-form-urlencoded;charset",
    ];
    for value in cases {
        assert_eq!(form_type(value), Ok(FormType::Urlencoded));
    }
}

#[test]
fn dispositions_of_real_clients_are_read() {
    use FileName::{Absent, Empty, Given};
    let cases: [(&[u8], &[u8], FileName); 24] = [
        (b"form-data; name=\"client_id\"", b"client_id", Absent),
        (b"FORM-DATA;NAME=image;FileName=x.png", b"image", Given),
        (b"form-data; name=\"image\"; filename=\"\"", b"image", Empty),
        (b"form-data; name=image; filename=", b"image", Empty),
        (
            b"form-data; name=\"image\"; filename=\"a;b=c, name=d.png\"",
            b"image",
            Given,
        ),
        (
            b"form-data; filename=\"C:\\photos\\x.png\"; name=\"image\"",
            b"image",
            Given,
        ),
        (
            b"form-data; filename=\"a\\\\\"; name=\"image\"",
            b"image",
            Given,
        ),
        (
            b"form-data; filename=\"\\\"; name=\\\"x\"; name=\"image\"",
            b"image",
            Given,
        ),
        (
            b"form-data; name=\"a\\\"b%22c%0D%0Ad%2a%\"",
            b"a\"b\"c\r\nd%2a%",
            Absent,
        ),
        (
            b"form-data; name=\"image\"; filename*=UTF-8''%e2%82%ac.png",
            b"image",
            Given,
        ),
        (b"form-data; name=image; filename*=UTF-8''", b"image", Empty),
        (
            b"form-data; name=image; filename=\"\"; filename*=UTF-8''x",
            b"image",
            Given,
        ),
        (
            b"form-data; name=\"\xff\xfe\"; filename=\"\xe9.png\"",
            b"\xff\xfe",
            Given,
        ),
        (b"form-data; name=\"\"", b"", Absent),
        (
            b"attachment; name=\"image\"; filename=\"a\"",
            b"image",
            Given,
        ),
        (b"file; name=x", b"x", Absent),
        (
            b"form-data; name=\"image\"; filename=\"my \"cool\" photo.png\"",
            b"image",
            Given,
        ),
        (
            b"form-data; name=\"image\"; filename=\"27\" screen.png\"; size=5",
            b"image",
            Given,
        ),
        (b"form-data; name=image; filename=\"5\"\"", b"image", Given),
        (b"form-data; name=image; filename=\"\" x\"", b"image", Given),
        (
            b"form-data; name=image; filename=\"a\"b\"; filename*=UTF-8''a%22b",
            b"image",
            Given,
        ),
        (
            b"form-data; name=image; filename=\"C:\\photos\\\"",
            b"image",
            Given,
        ),
        (
            b"form-data; name=image; filename=\"a\"b\"; filename=\"c\"",
            b"image",
            Given,
        ),
        (
            b"form-data; name=image; filename*=\"a\"b; filename=c",
            b"image",
            Given,
        ),
    ];
    for (value, name, file_name) in cases {
        assert_eq!(
            field(value),
            Some((name.to_vec(), file_name)),
            "{}",
            value.escape_ascii()
        );
    }
}

#[test]
fn ambiguous_dispositions_are_refused() {
    let cases: [&[u8]; 23] = [
        b"",
        b"; name=x",
        b"name=x",
        b"form data; name=x",
        // Unescaped quotes that let a name be read in more than one way, or in none.
        b"form-data; filename=\"a\"b.png\"; name=\"image\"",
        b"form-data; filename=\"a\"b.png",
        b"form-data; name=\"image\"; filename=\"a\"; name=\"client_id\"",
        b"form-data; name=\"image\"; filename=\"a\"b\"; name=\"client_id\"",
        b"form-data; name=\"image\"; filename=\"a\\\"; NAME = client_id; x=\"b\"c",
        b"form-data; name=\"image\"; filename=\"a\" name=client_id\"",
        b"form-data; name=\"image\"; filename=\"a\" b; name*=x\"",
        b"form-data; name=\"ima\"ge\"; filename=\"a\"",
        b"form-data",
        b"form-data; filename=\"name=x\"",
        b"form-data; name",
        b"form-data; name*=UTF-8''x",
        b"form-data, name=\"x\"",
        b"form-data; name=\"x",
        b"form-data; name=\"x\\\"",
        b"form-data; name=\"x\"y",
        b"form-data; name=\"x\"; Name=\"x\"",
        b"form-data; name=x; filename=y; filename=z",
        b"form-data; =\"x\"; name=x",
    ];
    for value in cases {
        assert_eq!(field(value), None, "{}", value.escape_ascii());
    }
}
