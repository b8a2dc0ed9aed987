version: "3"
services:
  web:
