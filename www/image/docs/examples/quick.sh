curl -F client_id=@CLIENT_ID@ \
     -F client_token=@CLIENT_TOKEN@ \
     -F store_duration=@FIRST_DURATION@ \
     -F image=@/path/to/image.jpg \
     @PUBLIC_URL@/image/v2/
