import sys

import requests

with open("path/to/image.jpg", "rb") as image:
    response = requests.post(
        "@PUBLIC_URL@/image/v2/",
        data={
            "client_id": "@CLIENT_ID@",
            "client_token": "@CLIENT_TOKEN@",
            "store_duration": "@FIRST_DURATION@",
        },
        files={"image": image},
        timeout=60,
    )
if not response.ok:
    sys.exit(f"Error {response.status_code}: {response.text}")
reply = response.json()
print(f"Image URL: {reply['url']}")
print(f"Expires at: {reply['expires_at']}")
