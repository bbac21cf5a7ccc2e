import requests
from form import fields, image, url

print(requests.post(url, data=fields, files={"image": image}).text)
