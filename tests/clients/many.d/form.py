"""The form of the Python programs."""
import os

url = os.environ["UPLOAD_URL"]
fields = {"client_id": os.environ["CLIENT_ID"], "client_token": os.environ["CLIENT_TOKEN"], "store_duration": "7D"}
path = os.environ["IMAGE"]
image = open(path, "rb")
