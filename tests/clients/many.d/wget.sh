# wget and wget2, $1, have no forms.
{
  printf '%s\r\nContent-Disposition: form-data; name="client_id"\r\n\r\n%s\r\n' --wget "$CLIENT_ID"
  printf '%s\r\nContent-Disposition: form-data; name="client_token"\r\n\r\n%s\r\n' --wget "$CLIENT_TOKEN"
  printf '%s\r\nContent-Disposition: form-data; name="store_duration"\r\n\r\n7D\r\n' --wget
  printf '%s\r\nContent-Disposition: form-data; name="image"; filename="image.jpg"\r\n\r\n' --wget
  cat -- "$IMAGE"
  printf '\r\n%s\r\n' --wget--
} >wget.body
"$1" --no-config --quiet --output-document=- --header='Content-Type: multipart/form-data; boundary=wget' --post-file=wget.body "$UPLOAD_URL"
