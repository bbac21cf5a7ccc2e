curl -q -sS -F "client_id=$CLIENT_ID" -F "client_token=$CLIENT_TOKEN" -F store_duration=7D -F "image=@$IMAGE" "$UPLOAD_URL"
