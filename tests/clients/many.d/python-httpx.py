import httpx
from form import fields, image, url

print(httpx.post(url, data=fields, files={"image": image}).text)
