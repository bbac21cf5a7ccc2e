use std::env::var;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let form = reqwest::blocking::multipart::Form::new()
        .text("client_id", var("CLIENT_ID")?)
        .text("client_token", var("CLIENT_TOKEN")?)
        .text("store_duration", "7D")
        .file("image", var("IMAGE")?)?;
    let reply = reqwest::blocking::Client::new()
        .post(var("UPLOAD_URL")?)
        .multipart(form)
        .send()?;
    println!("{}", reply.error_for_status()?.text()?);
    Ok(())
}
