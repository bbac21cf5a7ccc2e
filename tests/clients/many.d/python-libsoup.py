import gi
from form import fields, image, url

gi.require_version("Soup", "3.0")
from gi.repository import GLib, Soup

body = Soup.Multipart.new("multipart/form-data")
for name, value in fields.items():
    body.append_form_string(name, value)
body.append_form_file("image", "image.jpg", "image/jpeg", GLib.Bytes.new(image.read()))
print(Soup.Session().send_and_read(Soup.Message.new_from_multipart(url, body), None).get_data().decode())
