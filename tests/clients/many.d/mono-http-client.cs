using System;
using System.IO;
using System.Net.Http;

// Its boundary is a GUID in quotes; the names of its fields are not quoted.
class Upload {
    static void Main() {
        Func<string, string> env = Environment.GetEnvironmentVariable;
        var form = new MultipartFormDataContent {
            { new StringContent(env("CLIENT_ID")), "client_id" },
            { new StringContent(env("CLIENT_TOKEN")), "client_token" },
            { new StringContent("7D"), "store_duration" },
            { new StreamContent(File.OpenRead(env("IMAGE"))), "image", "image.jpg" },
        };
        Console.WriteLine(new HttpClient().PostAsync(env("UPLOAD_URL"), form).Result.Content.ReadAsStringAsync().Result);
    }
}
