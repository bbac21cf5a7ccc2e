"""Uploads a file as ShareX or uPic would with a settings file, and prints what they would show: the URL, or the error and status 1.

Usage: uploaders.py sharex|upic SETTINGS IMAGE

Neither program runs where the tests do. What they make of their settings is short: ShareX reads the fields of a custom uploader and its
own syntax of braces and backslashes in them; uPic reads strings inside of strings and follows a path into the reply.
"""

import json
import re
import sys

import requests


def sharex_text(text, reply=None):
    """ShareX's syntax since 13.7.1: {function:argument}, and a backslash before what is meant literally."""
    result, position = "", 0
    while position < len(text):
        character = text[position]
        if character == "\\":
            result += text[position + 1]
            position += 2
        elif character == "{":
            end = text.index("}", position)
            function, _, argument = text[position + 1 : end].partition(":")
            assert function == "json" and reply is not None, text
            result += str(reply.get(argument, ""))
            position = end + 1
        else:
            assert character != "}", text
            result += character
            position += 1
    return result


def sharex(settings, image):
    assert tuple(map(int, settings["Version"].split("."))) >= (13, 7, 1)
    assert settings["Body"] == "MultipartFormData" and "ImageUploader" in settings["DestinationType"]
    fields = {name: sharex_text(value) for name, value in settings["Arguments"].items()}
    reply = requests.request(
        settings["RequestMethod"], settings["RequestURL"], data=fields, files={settings["FileFormName"]: image}, timeout=60
    )
    part = "URL" if reply.ok else "ErrorMessage"
    if reply.ok:
        # What ShareX's history opens to delete the image.
        assert "#delete=" in sharex_text(settings["DeletionURL"], reply.json()), settings
        assert "/p/" in sharex_text(settings["ThumbnailURL"], reply.json()), settings
    return reply.ok, sharex_text(settings[part], reply.json())


def upic(settings, image):
    host = json.loads(settings[0])
    assert host["type"] == "custom" and re.fullmatch(r"\d+", host["id"]) and host["name"], host
    data = json.loads(host["data"])
    # uPic sends the file first and the fields after it.
    parts = [(data["field"], ("image.jpg", image, "image/jpeg"))]
    parts += [(field["key"], (None, field["value"])) for field in json.loads(data["bodys"])]
    headers = {header["key"]: header["value"] for header in json.loads(data["headers"])}
    reply = requests.request(data["method"], data["url"], files=parts, headers=headers, timeout=60)
    value = reply.json()
    if not reply.ok:
        return False, reply.text
    for step in json.loads(data["resultPath"]):
        value = value[step]
    return True, data["domain"] + value + data["suffix"]


program, settings_file, image_file = sys.argv[1:]
with open(settings_file, encoding="utf-8") as file:
    settings = json.load(file)
with open(image_file, "rb") as image:
    good, text = {"sharex": sharex, "upic": upic}[program](settings, image)
print(text)
sys.exit(0 if good else 1)
