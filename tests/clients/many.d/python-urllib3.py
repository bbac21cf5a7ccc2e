import urllib3
from form import fields, image, url

print(urllib3.request("POST", url, fields=fields | {"image": ("image.jpg", image.read())}).data.decode())
