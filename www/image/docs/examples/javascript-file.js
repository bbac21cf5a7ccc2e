// Example using HTML form with JavaScript fetch
document.getElementById('uploadForm').addEventListener('submit', async (e) => {
  e.preventDefault();
  const formData = new FormData();
  formData.append('client_id', '@CLIENT_ID@');
  formData.append('client_token', '@CLIENT_TOKEN@');
  formData.append('store_duration', '@FIRST_DURATION@');

  // Get file from an input element
  const fileInput = document.getElementById('imageFile');
  formData.append('image', fileInput.files[0]);

  try {
    const response = await fetch('@PUBLIC_URL@/image/v2/', {
      method: 'POST',
      body: formData
    });
    const data = await response.json();
    console.log('Success:', data);

    // Use the returned URL
    if (data.status === 'success') {
      console.log('Image URL:', data.url);
      console.log('Expires at:', data.expires_at);
    }
  } catch (error) {
    console.error('Error:', error);
  }
});
