# docker build -t workbench . && docker run --rm -p 127.0.0.1:8888:8888 workbench
FROM python:3.11-slim
RUN useradd --create-home reader
WORKDIR /home/reader/workbench
COPY --chown=reader . .
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu --constraint constraints.txt --editable .
USER reader
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "--ServerApp.root_dir=/home/reader/workbench"]
