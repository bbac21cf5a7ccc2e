use std::env::var;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (id, token) = (var("CLIENT_ID")?, var("CLIENT_TOKEN")?);
    let form = ureq::unversioned::multipart::Form::new()
        .text("client_id", &id)
        .text("client_token", &token)
        .text("store_duration", "7D")
        .file("image", var("IMAGE")?)?;
    let mut reply = ureq::post(var("UPLOAD_URL")?).send(form)?;
    println!("{}", reply.body_mut().read_to_string()?);
    Ok(())
}
