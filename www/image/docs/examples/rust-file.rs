use ureq::unversioned::multipart::Form;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let form = Form::new()
        .text("client_id", "@CLIENT_ID@")
        .text("client_token", "@CLIENT_TOKEN@")
        .text("store_duration", "@FIRST_DURATION@")
        .file("image", "/path/to/your/image.jpg")?;
    let request = ureq::post("@PUBLIC_URL@/image/v2/");
    // Errors of the API are JSON, too.
    let mut reply = request.config().http_status_as_error(false).build().send(form)?;
    let text = reply.body_mut().read_to_string()?;
    if !reply.status().is_success() {
        return Err(format!("{}: {text}", reply.status()).into());
    }
    println!("{text}");
    Ok(())
}
