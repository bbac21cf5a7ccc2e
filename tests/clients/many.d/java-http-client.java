import java.net.URI;
import java.net.http.*;
import java.net.http.HttpRequest.BodyPublishers;
import java.nio.file.Path;

/** HttpClient has no forms. It asks for HTTP/2 with an Upgrade header. */
class Upload {
    static String part(String name, String value) {
        return "--java\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value;
    }

    public static void main(String[] arguments) throws Exception {
        String fields = part("client_id", System.getenv("CLIENT_ID") + "\r\n") + part("client_token", System.getenv("CLIENT_TOKEN") + "\r\n")
            + part("store_duration", "7D\r\n") + part("image\"; filename=\"image.jpg", "");
        var body = BodyPublishers.concat(BodyPublishers.ofString(fields), BodyPublishers.ofFile(Path.of(System.getenv("IMAGE"))),
            BodyPublishers.ofString("\r\n--java--\r\n"));
        var request = HttpRequest.newBuilder(URI.create(System.getenv("UPLOAD_URL")))
            .header("Content-Type", "multipart/form-data; boundary=java").POST(body).build();
        System.out.println(HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body());
    }
}
