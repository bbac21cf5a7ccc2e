from form import fields, image, url
from PyQt5.QtCore import QCoreApplication, QUrl
from PyQt5.QtNetwork import QHttpMultiPart, QHttpPart, QNetworkAccessManager, QNetworkRequest

app = QCoreApplication([])
body = QHttpMultiPart(QHttpMultiPart.FormDataType)
for name, value in (fields | {'image"; filename="image.jpg': image.read()}).items():
    part = QHttpPart()
    part.setHeader(QNetworkRequest.ContentDispositionHeader, f'form-data; name="{name}"')
    part.setBody(value if isinstance(value, bytes) else value.encode())
    body.append(part)
network = QNetworkAccessManager()
reply = network.post(QNetworkRequest(QUrl(url)), body)
reply.finished.connect(app.quit)
app.exec()
print(bytes(reply.readAll()).decode())
