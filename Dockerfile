# The image of every service: `docker build -t queryscope:0.1.0 .`
# The first stage holds what building needs; the second one only the environment that deploy/install.sh made.
ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY . .
RUN PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1 deploy/install.sh /opt/queryscope

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 queryscope \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/queryscope --shell /usr/sbin/nologin queryscope \
 && install -d -o 10001 -g 10001 -m 0700 /var/lib/queryscope
COPY --from=build /opt/queryscope /opt/queryscope
# PYTHONDONTWRITEBYTECODE: the root file system is meant to be mounted read-only
ENV PATH=/opt/queryscope/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    QUERYSCOPE_DATA_DIR=/var/lib/queryscope
USER 10001:10001
WORKDIR /var/lib/queryscope
EXPOSE 8420 9420
ENTRYPOINT ["queryscope"]
CMD ["--help"]
