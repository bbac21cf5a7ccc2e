import pycurl
from form import fields, path, url

curl = pycurl.Curl()
curl.setopt(pycurl.URL, url)
curl.setopt(pycurl.HTTPPOST, [*fields.items(), ("image", (pycurl.FORM_FILE, path))])
print(curl.perform_rs())
