FROM ${BASE:?give a base image}
