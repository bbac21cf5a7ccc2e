package main

import (
	"io"
	"mime/multipart"
	"net/http"
	"os"
)

// The form is written while it is sent: chunked, without Content-Length.
func main() {
	body, pipe := io.Pipe()
	form := multipart.NewWriter(pipe)
	go func() {
		form.WriteField("client_id", os.Getenv("CLIENT_ID"))
		form.WriteField("client_token", os.Getenv("CLIENT_TOKEN"))
		form.WriteField("store_duration", "7D")
		part, _ := form.CreateFormFile("image", "image.jpg")
		image, _ := os.Open(os.Getenv("IMAGE"))
		io.Copy(part, image)
		form.Close()
		pipe.Close()
	}()
	reply, err := http.Post(os.Getenv("UPLOAD_URL"), form.FormDataContentType(), body)
	if err != nil {
		panic(err)
	}
	io.Copy(os.Stdout, reply.Body)
}
