#!/bin/sh
curl -X POST \
  -F "client_id=client_3m_plan" \
  -F "client_token=8b5d24c7e3af9d87156a40b1c3e92f67" \
  -F "store_duration=7D" \
  -F "image=@/path/to/your/image.jpg" \
  https://cdn.corenexis.com/image/v2/
