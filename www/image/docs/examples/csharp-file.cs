using System;
using System.IO;
using System.Net.Http;
using System.Threading.Tasks;

class Upload
{
    static int Main()
    {
        return Send().Result;
    }

    static async Task<int> Send()
    {
        using (var client = new HttpClient())
        using (var form = new MultipartFormDataContent())
        {
            form.Add(new StringContent("@CLIENT_ID@"), "client_id");
            form.Add(new StringContent("@CLIENT_TOKEN@"), "client_token");
            form.Add(new StringContent("@FIRST_DURATION@"), "store_duration");
            form.Add(new StreamContent(File.OpenRead("/path/to/your/image.jpg")), "image", "image.jpg");
            var reply = await client.PostAsync("@PUBLIC_URL@/image/v2/", form);
            var text = await reply.Content.ReadAsStringAsync();
            (reply.IsSuccessStatusCode ? Console.Out : Console.Error).WriteLine(text);
            return reply.IsSuccessStatusCode ? 0 : 1;
        }
    }
}
