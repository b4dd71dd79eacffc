"use strict";

// A proxy may serve the API below a path of its own, so requests go to the folder of this page.
const server = new URL(".", location.href).href;

fetch("openapi.json")
  .then((response) => response.json())
  .then((spec) =>
    SwaggerUIBundle({
      spec: { ...spec, servers: [{ url: server }] },
      dom_id: "#viewer",
      deepLinking: true,
      persistAuthorization: false,
      validatorUrl: null,
    })
  );
