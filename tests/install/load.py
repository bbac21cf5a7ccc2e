"""Eight uploaders, each with a connection for every upload, until the file /tmp/enough is there, and once more after that. Prints how
many uploads were answered with success, and every other reply; exits with 1 if there was one."""

import http.client
import os
import sys
import threading

HOST, PORT, TOKEN = sys.argv[1], int(sys.argv[2]), open(sys.argv[3]).read().strip()
PICTURE = open("samples/badge.png", "rb").read()
BOUNDARY = "----uploaders"


def field(name, value):
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


BODY = (
    field("client_id", "load")
    + field("client_token", TOKEN)
    + field("store_duration", "7D")
    + f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'.encode()
    + PICTURE
    + f"\r\n--{BOUNDARY}--\r\n".encode()
)
done, wrong = [0] * 8, []


def upload(number):
    last = False
    while not last:
        last = os.path.exists("/tmp/enough")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
            headers = {"Host": HOST, "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
            connection.request("POST", "/image/v2/", BODY, headers)
            reply = connection.getresponse()
            text = reply.read()
            if reply.status == 200 and b'"status":"success"' in text:
                done[number] += 1
            else:
                wrong.append(f"{reply.status} {text[:200]!r}")
            connection.close()
        except (OSError, http.client.HTTPException) as error:
            wrong.append(repr(error))


threads = [threading.Thread(target=upload, args=(number,)) for number in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(f"{sum(done)} uploads, {len(wrong)} failed")
for line in wrong[:10]:
    print(line)
sys.exit(1 if wrong or not all(done) else 0)
