package main

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
)

func upload(path string) error {
	image, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	form.WriteField("client_id", "@CLIENT_ID@")
	form.WriteField("client_token", "@CLIENT_TOKEN@")
	form.WriteField("store_duration", "@FIRST_DURATION@")
	part, err := form.CreateFormFile("image", "image.jpg")
	if err != nil {
		return err
	}
	part.Write(image)
	form.Close()

	reply, err := http.Post("@PUBLIC_URL@/image/v2/", form.FormDataContentType(), &body)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		return err
	}
	if reply.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", reply.Status, text)
	}
	fmt.Println(string(text))
	return nil
}

func main() {
	if err := upload("/path/to/your/image.jpg"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
