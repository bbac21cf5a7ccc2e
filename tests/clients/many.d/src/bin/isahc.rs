// isahc has no forms. A body from a reader is sent chunked, without Content-Length.
use std::{env::var, error::Error, fs::File, io::Cursor, io::Read, io::read_to_string};

fn part(name: &str, value: String) -> String {
    format!("--isahc\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}")
}

fn main() -> Result<(), Box<dyn Error>> {
    let head = part("client_id", var("CLIENT_ID")? + "\r\n")
        + &part("client_token", var("CLIENT_TOKEN")? + "\r\n")
        + &part("store_duration", "7D\r\n".into())
        + &part("image; filename=image.jpg", String::new());
    let body = Cursor::new(head).chain(File::open(var("IMAGE")?)?);
    let request = isahc::Request::post(var("UPLOAD_URL")?)
        .header("Content-Type", "multipart/form-data; boundary=isahc")
        .body(isahc::Body::from_reader(body.chain(&b"\r\n--isahc--"[..])))?;
    println!("{}", read_to_string(isahc::send(request)?.into_body())?);
    Ok(())
}
