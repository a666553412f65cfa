"""Bodies that are produced while they are sent: events once a second, and a large file.

The file is made in a temporary folder, which becomes the working directory.
"""

import os  # added
import tempfile  # added
import time  # added
from pyliteflux import Route, Server  # added

from pyliteflux import StreamResponse

@Route.register("/stream", method="GET")
def stream_data(request):
    def generate_data():
        for i in range(10):
            time.sleep(1)  # 模拟数据生成
            yield f"data: {i}\n\n"
    
    return StreamResponse(
        generate_data(),
        content_type="text/event-stream",
        headers={
            "Cache-Control": "no-cache",
            "Connection": "keep-alive"
        }
    )

# 带参数的流式响应
@Route.register("/download", method="GET")
def download_file(request):
    def file_reader():
        with open("large_file.txt", "rb") as f:
            while chunk := f.read(8192):
                yield chunk
    
    return StreamResponse(
        file_reader(),
        content_type="application/octet-stream",
        headers={
            "Content-Disposition": "attachment; filename=large_file.txt"
        }
    )

server = Server()  # added
with tempfile.TemporaryDirectory() as folder:  # added
    os.chdir(folder)  # added
    with open("large_file.txt", "wb") as f:  # added
        f.write(b"0123456789abcde\n" * 65536)  # added
    server.run()  # added
    os.chdir(os.pardir)  # added
