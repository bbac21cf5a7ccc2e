import java.io.File;
import org.apache.http.client.methods.HttpPost;
import org.apache.http.entity.mime.MultipartEntityBuilder;
import org.apache.http.impl.client.HttpClients;
import org.apache.http.util.EntityUtils;

class Upload {
    public static void main(String[] arguments) throws Exception {
        var request = new HttpPost(System.getenv("UPLOAD_URL"));
        request.setEntity(MultipartEntityBuilder.create()
            .addTextBody("client_id", System.getenv("CLIENT_ID"))
            .addTextBody("client_token", System.getenv("CLIENT_TOKEN"))
            .addTextBody("store_duration", "7D")
            .addBinaryBody("image", new File(System.getenv("IMAGE")))
            .build());
        System.out.println(EntityUtils.toString(HttpClients.createDefault().execute(request).getEntity()));
    }
}
