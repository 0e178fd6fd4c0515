# One short story told by the unmodified Ruby client; the kubeconfig is the daemon's own. Prints one JSON object.
require 'json'
require 'kubeclient'

config = Kubeclient::Config.read(ENV.fetch('KUBECONFIG'))
context = config.context('prod')
client = Kubeclient::Client.new(
  context.api_endpoint, context.api_version,
  ssl_options: context.ssl_options, auth_options: context.auth_options
)
told = {}
told['pods'] = client.get_pods(namespace: 'default').map { |pod| pod.metadata.name.split('-').first }.sort
begin
  client.get_pod('nonesuch', 'default')
rescue Kubeclient::ResourceNotFoundError => e
  told['missing'] = [e.error_code, e.message]
end

name = 'told-by-ruby'
client.create_config_map(Kubeclient::Resource.new(metadata: { name: name, namespace: 'default' }, data: { n: '0' }))
version = client.get_config_maps(namespace: 'default').resourceVersion
numbers = []
writer = Thread.new do
  (1..30).each do |number|
    client.patch_config_map(name, { data: { n: number.to_s } }, 'default')
    sleep 0.05
  end
end
watcher = client.watch_config_maps(namespace: 'default', resource_version: version, field_selector: "metadata.name=#{name}")
watcher.each do |event|
  numbers << event.object.data.n.to_i
  watcher.finish if numbers.last == 30
end
writer.join
told['watched'] = numbers
client.delete_config_map(name, 'default')

lines = []
log = client.watch_pod_log('two', 'default', container: 'main')
log.each do |line|
  lines << line.to_i
  if lines.size == 4
    log.finish
    break
  end
end
told['log'] = lines.map { |number| number - lines.first }
puts JSON.generate(told)
