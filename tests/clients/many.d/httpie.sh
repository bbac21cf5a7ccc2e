"$1" --ignore-stdin --multipart POST "$UPLOAD_URL" "client_id=$CLIENT_ID" "client_token=$CLIENT_TOKEN" store_duration=7D "image@$IMAGE"
