import java.io.File;
import okhttp3.*;

class Upload {
    public static void main(String[] arguments) throws Exception {
        var image = RequestBody.create(MediaType.parse("image/jpeg"), new File(System.getenv("IMAGE")));
        var form = new MultipartBody.Builder().setType(MultipartBody.FORM)
            .addFormDataPart("client_id", System.getenv("CLIENT_ID"))
            .addFormDataPart("client_token", System.getenv("CLIENT_TOKEN"))
            .addFormDataPart("store_duration", "7D")
            .addFormDataPart("image", "image.jpg", image)
            .build();
        var request = new Request.Builder().url(System.getenv("UPLOAD_URL")).post(form).build();
        System.out.println(new OkHttpClient().newCall(request).execute().body().string());
        System.exit(0);
    }
}
