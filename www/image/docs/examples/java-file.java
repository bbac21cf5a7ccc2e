import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;

class Upload {
    static final String BOUNDARY = "form-" + System.nanoTime();

    static String field(String name, String value) {
        return "--" + BOUNDARY + "\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n";
    }

    public static void main(String[] arguments) throws Exception {
        var fields = field("client_id", "@CLIENT_ID@")
            + field("client_token", "@CLIENT_TOKEN@")
            + field("store_duration", "@FIRST_DURATION@")
            + "--" + BOUNDARY + "\r\nContent-Disposition: form-data; name=\"image\"; filename=\"image.jpg\"\r\n\r\n";
        var body = BodyPublishers.concat(
            BodyPublishers.ofString(fields),
            BodyPublishers.ofFile(Path.of("/path/to/your/image.jpg")),
            BodyPublishers.ofString("\r\n--" + BOUNDARY + "--\r\n"));
        var request = HttpRequest.newBuilder(URI.create("@PUBLIC_URL@/image/v2/"))
            .header("Content-Type", "multipart/form-data; boundary=" + BOUNDARY)
            .POST(body)
            .build();
        var reply = HttpClient.newHttpClient().send(request, BodyHandlers.ofString());
        if (reply.statusCode() != 200) {
            throw new Exception(reply.statusCode() + ": " + reply.body());
        }
        System.out.println(reply.body());
    }
}
