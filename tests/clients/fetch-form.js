// Example using HTML form with JavaScript fetch
document.getElementById('uploadForm').addEventListener('submit', async (e) => {
  e.preventDefault();
  const formData = new FormData();
  formData.append('client_id', 'client_3m_plan');
  formData.append('client_token', '8b5d24c7e3af9d87156a40b1c3e92f67');
  formData.append('store_duration', '7D');
  // Get file from an input element
  const fileInput = document.getElementById('imageFile');
  formData.append('image', fileInput.files[0]);
  try {
    const response = await fetch('https://cdn.corenexis.com/image/v2/', {
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
