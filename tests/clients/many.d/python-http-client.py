# http.client has no forms. A body that is an iterable is sent chunked, without Content-Length.
import http.client
import urllib.parse
from form import fields, image, url

body = [f'--=_8=\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields.items()]
body.append(b'--=_8=\r\nContent-Disposition: form-data; name="image"; filename="image.jpg"\r\n\r\n')
body += [image.read(), b"\r\n--=_8=--\r\n"]
address = urllib.parse.urlsplit(url)
connection = http.client.HTTPConnection(address.netloc)
connection.request("POST", address.path, iter(body), {"Content-Type": 'multipart/form-data; boundary="=_8="'})
print(connection.getresponse().read().decode())
